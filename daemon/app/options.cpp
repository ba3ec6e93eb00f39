// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/options.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/suggestion.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "daemon/app/config.hpp"
#include "daemon/app/daemon.hpp"
#include "daemon/app/network.hpp"
#include "daemon/app/privileges.hpp"
#include "daemon/cli/verbs.hpp"

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace volary::app {
namespace {

constexpr int kUsage = 2;

struct ServeOptions {
    std::string config;
    std::string state;
    std::vector<std::string> listen;
    int ready_fd = -1;
    bool debug = false;
};

/// Everything that the command line can fill; one verb then uses its part.
struct Options {
    cli::Context context;
    ServeOptions serve;
    cli::SendOptions send;
    cli::TailOptions tail;
    cli::PlanOptions plan;
    cli::CageOptions cage;
    cli::CageLogOptions cage_log;
    cli::GrantOptions grant;
    cli::ChangesOptions changes;
    cli::ForwardOptions forward;
    cli::ExportOptions session_export;
    std::int64_t keep = 7;
    std::string session;
    std::string run;
    std::string project;
    std::string path = ".";
    std::string file;
    bool origin = false;
    std::string plan_text;
    std::string plan_status;
    std::function<int()> verb;
};

using Verb = std::function<int()>;

/// A verb of the program: `--json` on each, and what to run when it was chosen.
CLI::App* add_verb(CLI::App& parent, Options& o, std::string name, std::string about, Verb verb) {
    auto* app = parent.add_subcommand(std::move(name), std::move(about));
    app->add_flag("--json", o.context.json, "print the answer as JSON");
    app->callback([&o, verb = std::move(verb)] { o.verb = verb; });
    return app;
}

/// A file that was named must be there; the usual one may be.
Config config_of(const std::string& file) {
    if (!file.empty()) return load_config(file);
    const auto usual = default_places().config_file;
    return std::filesystem::exists(usual) ? load_config(usual) : Config{};
}

Config serve_config(const ServeOptions& options) {
    const auto places = default_places();
    auto config = config_of(options.config);
    if (!options.state.empty()) config.state = options.state;
    if (!options.listen.empty()) config.listen = options.listen;
    if (config.state.empty()) config.state = places.state;
    config.state = std::filesystem::absolute(config.state).lexically_normal().string();
    if (config.listen.empty()) config.listen = {"127.0.0.1:8420", "unix:" + places.socket};
    const auto problems = config.models.check();
    if (problems.empty()) return config;
    Error error(Errc::invalid, "the models of the config cannot be used: " + problems.front());
    throw error.with_details(problems);
}

int run_serve(const ServeOptions& options) {
    if (options.debug) log::set_level(log::Level::debug);
    return serve(serve_config(options), options.ready_fd);
}

void add_serve(CLI::App& app, Options& o) {
    auto* serve = app.add_subcommand("serve", "run the daemon in the foreground");
    serve->add_option("--config", o.serve.config, "TOML file (docs/config.md)");
    serve->add_option("--state", o.serve.state, "folder of the database and the agents' homes")
        ->envname("VOLARY_STATE");
    serve->add_option("--listen", o.serve.listen, "ADDR:PORT on loopback or unix:PATH; repeatable");
    serve->add_option(
        "--ready-fd", o.serve.ready_fd, "descriptor that gets the line \"ready URL\""
    );
    serve->add_flag("--debug", o.serve.debug, "log more");
    serve->callback([&o] { o.verb = [&o] { return run_serve(o.serve); }; });
}

void add_conversation(CLI::App& app, Options& o) {
    auto* send = add_verb(app, o, "send", "send a message to a project", [&o] {
        return cli::send(o.context, o.send);
    });
    send->add_option("project", o.send.project, "name of the project")->required();
    send->add_option("text", o.send.text, "the message")->required();
    send->add_option("--session", o.send.session, "session id, or new");
    send->add_flag("--wait", o.send.wait, "wait for the run; exit 0 only when it succeeded");
    auto* tail = add_verb(app, o, "tail", "print a session's events as they come", [&o] {
        return cli::tail(o.context, o.tail);
    });
    tail->add_option("session", o.tail.session, "session id")->required();
    tail->add_option("--after", o.tail.after, "begin after this log position")
        ->check(CLI::NonNegativeNumber);
}

void add_plan(CLI::App& session, Options& o) {
    auto* plan = add_verb(session, o, "plan", "print the plan, or edit it while held", [&o] {
        if (!o.plan_text.empty()) o.plan.text = o.plan_text;
        if (!o.plan_status.empty()) o.plan.status = o.plan_status;
        return cli::session_plan(o.context, o.plan);
    });
    plan->add_option("session", o.plan.session, "session id")->required();
    plan->add_option("entry", o.plan.entry, "id of the entry to edit");
    plan->add_option("--text", o.plan_text, "its new text");
    plan->add_option("--status", o.plan_status, "pending, in_progress or completed");
}

void add_history(CLI::App& session, Options& o) {
    auto* verify =
        add_verb(session, o, "verify", "prove that nobody changed a session's log", [&o] {
            return cli::session_verify(o.context, o.session, o.path == "." ? "" : o.path);
        });
    auto* which = verify->add_option_group("which", "one of these");
    which->add_option("session", o.session, "session id");
    which->add_option("--file", o.path, "an export instead (needs no daemon)");
    which->require_option(1);
    auto* out = add_verb(session, o, "export", "write a whole session to a file", [&o] {
        return cli::session_export(o.context, o.session_export);
    });
    out->add_option("session", o.session_export.session, "session id")->required();
    out->add_option("file", o.session_export.file, "a new file; - for standard output")->required();
    auto* in = add_verb(session, o, "import", "take over an exported session", [&o] {
        return cli::session_import(o.context, o.path);
    });
    in->add_option("file", o.path, "what `session export` wrote")->required();
}

/// Offline verbs read and write what belongs to the daemon's user.
std::string own_state(const ServeOptions& options) {
    if (is_root()) become_system_user({});
    return serve_config(options).state;
}

void add_backup(CLI::App& app, Options& o) {
    auto* backup = app.add_subcommand("backup", "copies of the daemon's database");
    backup->require_subcommand(1);
    auto* create = add_verb(*backup, o, "create", "copy it while the daemon runs, verified", [&o] {
        return cli::backup_create(o.context, o.keep);
    });
    create->add_option("--keep", o.keep, "how many of the newest stay")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    add_verb(*backup, o, "list", "newest first", [&o] { return cli::backup_list(o.context); });
    auto* verify =
        add_verb(*backup, o, "verify", "read every page and log (needs no daemon)", [&o] {
            if (is_root()) become_system_user({});
            return cli::backup_verify(o.context, o.path);
        });
    verify->add_option("file", o.path, "a backup, or the volary.db of a stopped daemon")
        ->required();
    auto* restore = add_verb(*backup, o, "restore", "put a backup in place of the database", [&o] {
        return cli::backup_restore(o.context, o.path, own_state(o.serve));
    });
    restore->add_option("file", o.path, "a backup")->required();
    auto* salvage =
        add_verb(*backup, o, "salvage", "save what can be read of a damaged database", [&o] {
            return cli::backup_salvage(o.context, o.file, own_state(o.serve));
        });
    salvage->add_option("file", o.file, "a damaged file, saved to FILE.salvaged; else the state's");
    for (auto* verb : {restore, salvage}) {
        verb->add_option("--state", o.serve.state, "the state folder; no daemon may run on it")
            ->envname("VOLARY_STATE");
        verb->add_option("--config", o.serve.config, "TOML file that names it");
    }
}

void add_session(CLI::App& app, Options& o) {
    auto* session = app.add_subcommand("session", "list, show and control sessions");
    session->require_subcommand(1);
    add_verb(*session, o, "list", "newest activity first", [&o] {
        return cli::session_list(o.context, o.project);
    })->add_option("--project", o.project, "of one project only");
    add_verb(
        *session, o, "show", "state, agents, plan and queue",
        [&o] { return cli::session_show(o.context, o.session); }
    )
        ->add_option("session", o.session, "session id")
        ->required();
    const auto act = [&](const std::string& name, const std::string& about) {
        add_verb(
            *session, o, name, about,
            [&o, name] { return cli::session_act(o.context, o.session, name); }
        )
            ->add_option("session", o.session, "session id")
            ->required();
    };
    act("hold", "admit no new step");
    act("resume", "go on; agents are told of edits");
    act("stop", "end the run and everything below it");
    add_plan(*session, o);
    add_history(*session, o);
    auto* cancel = add_verb(*session, o, "cancel", "cancel a queued message", [&o] {
        return cli::session_cancel(o.context, o.session, o.run);
    });
    cancel->add_option("session", o.session, "session id")->required();
    cancel->add_option("run", o.run, "run id of the message")->required();
}

void add_project(CLI::App& app, Options& o) {
    auto* project = app.add_subcommand("project", "add, list and show projects");
    project->require_subcommand(1);
    add_verb(
        *project, o, "add", "add the project in a folder",
        [&o] { return cli::project_add(o.context, o.path); }
    )
        ->add_option("folder", o.path, "folder with .volary/project.yaml")
        ->required();
    add_verb(*project, o, "list", "every project", [&o] { return cli::project_list(o.context); });
    add_verb(
        *project, o, "show", "agents, cages and problems of one",
        [&o] { return cli::project_show(o.context, o.project); }
    )
        ->add_option("name", o.project, "name of the project")
        ->required();
}

void add_dsl(CLI::App& app, Options& o) {
    auto* dsl = app.add_subcommand("dsl", "check and show project files (needs no daemon)");
    dsl->require_subcommand(1);
    add_verb(*dsl, o, "validate", "tell every problem of a project file", [&o] {
        return cli::dsl_validate(o.context, o.path);
    })->add_option("path", o.path, "folder or file; the current folder unless told");
    auto* show = add_verb(*dsl, o, "show", "the resolved project", [&o] {
        return cli::dsl_show(o.context, o.path, o.origin);
    });
    show->add_option("path", o.path, "folder or file; the current folder unless told");
    show->add_flag("--origin", o.origin, "print file and line of each value");
    add_verb(*dsl, o, "schema", "JSON Schema of a project file", [] { return cli::dsl_schema(); });
}

/// The verbs that ask the daemon about its cages.
void add_watch(CLI::App& cage, Options& o) {
    auto* log = add_verb(cage, o, "log", "denials, limits, grants and connections", [&o] {
        return cli::cage_log(o.context, o.cage_log);
    });
    log->add_option("session", o.cage_log.session, "session id")->required();
    log->add_option("--agent", o.cage_log.agent, "of one agent only, e.g. primary/scraper");
    auto* grant = add_verb(cage, o, "grant", "allow an agent more than its policy", [&o] {
        return cli::cage_grant(o.context, o.grant);
    });
    grant->add_option("session", o.grant.session, "session id")->required();
    grant->add_option("rule", o.grant.rule, "HOST:PORT, project:/FOLDER or project:/FOLDER:rw")
        ->required();
    grant->add_option("--agent", o.grant.agent, "path of the agent")->required();
    grant->add_option("--cage", o.grant.cage, "this cage only");
    grant->add_option("--scope", o.grant.scope, "once, session or project")
        ->check(CLI::IsMember({"once", "session", "project"}))
        ->capture_default_str();
    grant->add_flag("--private", o.grant.allow_private, "also where the name is a private address");
    grant->add_flag("--yes", o.grant.yes, "write the project file without asking");
}

/// The verbs for what agents changed in `cow` folders.
void add_changes(CLI::App& cage, Options& o) {
    auto* changes = add_verb(cage, o, "changes", "list changes in cow folders, or diff some", [&o] {
        return cli::cage_changes(o.context, o.changes);
    });
    auto* keep = add_verb(cage, o, "keep", "apply changes to the host's folders", [&o] {
        return cli::cage_settle(o.context, o.changes, "keep");
    });
    auto* drop = add_verb(cage, o, "drop", "forget changes", [&o] {
        return cli::cage_settle(o.context, o.changes, "drop");
    });
    for (auto* verb : {changes, keep, drop}) {
        verb->add_option("session", o.changes.session, "session id")->required();
        verb->add_option("paths", o.changes.paths, "paths in the cage; all unless told");
        verb->add_option("--agent", o.changes.agent, "of one agent only, e.g. primary/scraper");
    }
}

void add_cage(CLI::App& app, Options& o) {
    auto* cage =
        app.add_subcommand("cage", "run, explain, watch and widen cages; reach their ports");
    cage->require_subcommand(1);
    auto* run = add_verb(*cage, o, "run", "run a command in a cage (needs no daemon)", [&o] {
        return cli::cage_run(o.cage, gatekeeper_config(config_of(o.cage.config)));
    });
    auto* explain =
        add_verb(*cage, o, "explain", "print what a policy compiles to (needs no daemon)", [&o] {
            return cli::cage_explain(o.context, o.cage);
        });
    for (auto* verb : {run, explain}) {
        verb->add_option("--policy", o.cage.policy, "YAML file with one cage (docs/dsl.md)")
            ->required();
        verb->add_option("--workspace", o.cage.workspace, "folder seen as /workspace");
    }
    explain->add_option("--path", o.cage.path, "tell why this path is or is not there");
    run->add_option("--config", o.cage.config, "the operator's TOML file (docs/config.md)");
    run->add_option("--layers", o.cage.layers, "folder that keeps what cow entries changed");
    run->add_option("command", o.cage.command, "after --: program and arguments")->required();
    add_watch(*cage, o);
    add_changes(*cage, o);
    add_verb(
        *cage, o, "ports", "what the cages of a session publish",
        [&o] { return cli::cage_ports(o.context, o.session); }
    )
        ->add_option("session", o.session, "session id")
        ->required();
    auto* forward = add_verb(*cage, o, "forward", "listen on this host for a published port", [&o] {
        return cli::cage_forward(o.context, o.forward);
    });
    forward->add_option("session", o.forward.session, "session id")->required();
    forward->add_option("name", o.forward.name, "name of the port")->required();
    forward->add_option("local-port", o.forward.local_port, "0: any; else the port's own number");
}

void add_rest(CLI::App& app, Options& o) {
    add_verb(app, o, "status", "how the daemon is", [&o] { return cli::status(o.context); });
    add_verb(app, o, "doctor", "prove each layer of a cage on this host (needs no daemon)", [&o] {
        if (is_root()) become_system_user({});
        return cli::doctor(o.context);
    });
    auto* auth = app.add_subcommand("auth", "sign in");
    auth->require_subcommand(1);
    add_verb(*auth, o, "launch-url", "a URL that signs one browser in, once", [&o] {
        return cli::auth_launch_url(o.context);
    });
    auto* config = app.add_subcommand("config", "the operator's config file");
    config->require_subcommand(1);
    auto* check = add_verb(*config, o, "check", "tell every problem of a config file", [&o] {
        o.serve.config = o.path;
        serve_config(o.serve);
        cli::print_line(o.context.json ? R"({"valid":true})" : o.path + " is valid");
        return 0;
    });
    check->add_option("file", o.path, "TOML file")->required();
}

/// Says which verbs belong where a person typed another, or none; nothing when a verb is there.
std::optional<std::string> missing_verb(const CLI::App& app) {
    const auto* at = &app;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    if (at->get_require_subcommand_min() == 0) return std::nullopt;
    const auto typed = at->remaining();
    Suggestion suggestion(typed.empty() ? "" : typed.front());
    std::string verbs;
    for (const auto* verb : at->get_subcommands([](const CLI::App*) { return true; })) {
        suggestion.offer(verb->get_name());
        verbs += (verbs.empty() ? "" : ", ") + verb->get_name();
    }
    if (typed.empty()) return fmt::format("{} needs a verb: {}", at->get_name(), verbs);
    auto hint = suggestion.hint();
    if (!hint.empty()) hint = " (" + hint + ")";
    return fmt::format("{} has no verb \"{}\"{}: {}", at->get_name(), typed.front(), hint, verbs);
}

}  // namespace

int run_command_line(int argc, char** argv) {
    Options options;
    CLI::App app("volary keeps AI agents in cages, on this host.", "volary");
    app.set_version_flag("--version", std::string("volary ") + VOLARY_VERSION);
    app.add_option("--socket", options.context.socket, "the daemon's operator socket")
        ->envname("VOLARY_SOCKET")
        ->default_val(default_places().socket);
    app.require_subcommand(1);
    add_serve(app, options);
    add_conversation(app, options);
    add_session(app, options);
    add_project(app, options);
    add_dsl(app, options);
    add_cage(app, options);
    add_backup(app, options);
    add_rest(app, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::RequiredError& error) {
        const auto missing = missing_verb(app);
        if (!missing) {
            app.exit(error);
            return kUsage;
        }
        fmt::print(stderr, "{}\nRun with --help for more information.\n", *missing);
        return kUsage;
    } catch (const CLI::ParseError& error) {
        // Help and version are no failures; everything else is a wrong use of the program.
        return app.exit(error) == 0 ? 0 : kUsage;
    }
    try {
        return options.verb();
    } catch (const std::exception& error) {
        return cli::report(error);
    }
}

}  // namespace volary::app
