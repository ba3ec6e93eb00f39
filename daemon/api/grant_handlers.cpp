// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "base/side_thread.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/session/grant.hpp"
#include "daemon/session/project_file.hpp"
#include "daemon/session/projects.hpp"

#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

/// The body of a grant, as it was sent.
struct Wanted {
    std::string agent;
    std::string cage;
    std::optional<std::string> net;
    std::string path;
    std::string mode;
    bool allow_private = false;
    GrantScope scope = GrantScope::once;
    std::optional<std::string> confirm;
};

Wanted read_wanted(const Json& doc) {
    Fields fields(doc, "body");
    Wanted out;
    out.agent = fields.string("agent");
    out.cage = fields.optional_string("cage").value_or("");
    if (!out.cage.empty() && !is_id(out.cage, CageTag::prefix))
        fields.problem("cage", "must be a cage id");
    const auto scope = grant_scope_from(fields.string("scope"));
    if (!scope) fields.problem("scope", "must be once, session or project");
    out.scope = scope.value_or(GrantScope::once);
    out.allow_private = fields.optional_boolean("private").value_or(false);
    out.confirm = fields.optional_string("confirm");
    out.net = fields.optional_string("net");
    const auto* folder = fields.optional_value("fs");
    if (out.net.has_value() == (folder != nullptr))
        fields.problem("net", "a grant is either net (\"host:port\") or fs ({\"path\",\"mode\"})");
    fields.done();
    if (folder == nullptr) return out;
    if (!folder->is_object()) throw Error(Errc::invalid, "body.fs: must be a JSON object");
    Fields below(*folder, "body.fs");
    out.path = below.string("path");
    out.mode = below.string("mode");
    below.done();
    return out;
}

std::shared_ptr<const dsl::Project> project_of(
    const Services& services, const session::State& state
) {
    const auto* entry = services.projects.refresh(state.project);
    if (entry == nullptr || !entry->project)
        throw Error(
            Errc::conflict,
            fmt::format("the project \"{}\" cannot be read: see volary project show", state.project)
        );
    return entry->project;
}

session::Grant command_of(const Wanted& wanted, const dsl::Project& project) {
    session::Grant out;
    out.agent = wanted.agent;
    out.cage = CageId(wanted.cage);
    out.scope = wanted.scope;
    if (wanted.net)
        out.rule = session::make_net_grant(*wanted.net, wanted.allow_private);
    else
        out.rule = session::make_fs_grant(project, wanted.path, wanted.mode);
    return out;
}

// Not a coroutine on purpose (style C4).
asio::awaitable<session::Proposal> propose(
    SideThread& files, std::shared_ptr<const dsl::Project> project, CageCeiling ceiling,
    session::Grant grant
) {
    auto work = [project = std::move(project), ceiling = std::move(ceiling),
                 grant = std::move(grant)] {
        return session::propose_edit(*project, ceiling, grant.agent, grant.rule);
    };
    return files.run(std::move(work));
}

// Not a coroutine on purpose (style C4).
asio::awaitable<void> write(SideThread& files, std::string file, session::Proposal edit) {
    auto work = [file = std::move(file), edit = std::move(edit)] {
        session::write_project_file(file, edit.before, edit.after);
    };
    return files.run(std::move(work));
}

/// Writes what a daemon took and did not live to write: the file is still the one that the operator
/// confirmed a change of. A file that is another one by now has it, or is somebody else's.
asio::awaitable<void> finish_edit(const Services& services, SessionId session, Wanted wanted) {
    const auto state = co_await services.sessions.state(session);
    const auto project = project_of(services, state);
    session::Proposal edit;
    try {
        auto command = command_of(wanted, *project);
        edit = co_await propose(
            services.files, project, services.sessions.ceiling(), std::move(command)
        );
    } catch (const Error&) {
        // No change of this file would give the rule.
        co_return;
    }
    if (session::edit_hash(edit.before, edit.after) != wanted.confirm) co_return;
    co_await write(services.files, project->file, std::move(edit));
    services.projects.refresh(state.project);
}

/// How it was carried out, for the first sender and for one who sends it again.
asio::awaitable<http::Response> answer(const Services& services, session::Answer done) {
    const auto grant = co_await services.sessions.wait_grant(done.session, done.seq);
    if (!grant) throw Error(Errc::conflict, "the grant was given, and is forgotten by now");
    if (grant->applied == "none") throw Error(Errc::conflict, grant->reason);
    Json body = {{"applied", grant->applied}, {"rule", grant->rule}, {"seq", done.seq}};
    if (!grant->reason.empty()) body["reason"] = grant->reason;
    if (!grant->file.empty()) body["file"] = grant->file;
    co_return json_answer(202, body);
}

asio::awaitable<http::Response> grant(const Services& services, http::Request& request) {
    auto mutation = mutation_of(request);
    const auto session = session_of(request);
    const auto wanted = read_wanted(body_of(request));
    const auto before = co_await services.sessions.answered_before(mutation);
    if (before) {
        const auto given = co_await services.sessions.wait_grant(before->session, before->seq);
        const bool lasts = given && given->scope == "project" && given->applied != "none";
        if (lasts) co_await finish_edit(services, before->session, wanted);
        auto again = co_await answer(services, *before);
        co_return again;
    }
    const auto state = co_await services.sessions.state(session);
    const auto project = project_of(services, state);
    auto command = command_of(wanted, *project);
    services.sessions.check(state, *project, command);
    if (wanted.scope == GrantScope::project) {
        auto edit = co_await propose(services.files, project, services.sessions.ceiling(), command);
        const auto hash = session::edit_hash(edit.before, edit.after);
        const Json proposal = {{"file", project->file}, {"diff", edit.diff}, {"hash", hash}};
        if (!wanted.confirm) co_return json_answer(200, proposal);
        if (*wanted.confirm != hash)
            throw Error(
                Errc::conflict,
                fmt::format("\"{}\" has changed since: look at the diff again", project->file)
            );
        session::ProjectEdit confirmed{
            project->file, std::move(edit.before), std::move(edit.after)
        };
        command.edit = std::move(confirmed);
    }
    const auto done =
        co_await services.sessions.operate(session, std::move(command), std::move(mutation));
    auto out = co_await answer(services, done);
    co_return out;
}

}  // namespace

void Api::add_grant_routes() {
    const auto give = [this](http::Request& request) { return grant(services_, request); };
    http::RouteOptions options;
    options.summary = "allow an agent something beyond its policy";
    router_.add(
        "POST", "/api/v1/sessions/{id}/grants", http::AsyncHandler(give), std::move(options)
    );
}

}  // namespace volary::api
