// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/grant.hpp"

#include "base/error.hpp"
#include "base/protected.hpp"
#include "daemon/session/project_file.hpp"
#include "dsl/edit.hpp"
#include "dsl/load.hpp"
#include "dsl/net_rule.hpp"
#include "dsl/project_folder.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace volary::session {
namespace {

constexpr std::string_view kWorkspace = "/workspace";
constexpr std::string_view kUri = "project:/";
/// "project:/data" for either spelling.
std::string uri_of(const std::string& path) {
    if (path.starts_with(kUri)) return path;
    if (path == kWorkspace) return std::string(kUri);
    if (path.starts_with(kWorkspace) && path[kWorkspace.size()] == '/')
        return std::string(kUri) + path.substr(kWorkspace.size() + 1);
    throw Error(
        Errc::invalid, "body.fs.path: only what is in the project can be granted: project:/..."
    );
}

/// Where a symlink leads counts as much as its own name.
void refuse_protected(const dsl::Place& place) {
    for (const auto& path : {place.relative, place.resolved}) {
        if (!path.empty() && !is_protected(path) && !holds_protected(path)) continue;
        throw Error(
            Errc::denied, fmt::format(
                              "body.fs: \"project:/{}\" is or holds a protected path, which no "
                              "grant makes writable; grant a folder beside it, or mode ro",
                              place.relative
                          )
        );
    }
}

FsRule fs_rule(const std::string& root, const std::string& relative, const std::string& mode) {
    const auto below = relative.empty() ? "" : "/" + relative;
    return {
        .source = root + below,
        .root = root,
        .mode = mode == "rw" ? FsMode::rw : FsMode::ro,
        .target = std::string(kWorkspace) + below
    };
}

GrantRule rule_of(const Granted& grant, const dsl::Project& project) {
    if (grant.layer == "fs") return fs_rule(project.root, grant.path, grant.mode);
    auto parsed = dsl::parse_net_rule(grant.rule);
    if (!parsed) throw Error(Errc::internal, "a grant has the rule \"" + grant.rule + "\"");
    parsed->allow_private = grant.allow_private;
    return std::move(*parsed);
}

dsl::FileEdit edit_for(const std::string& text, const std::string& agent, const GrantRule& rule) {
    const auto* net = std::get_if<NetRule>(&rule);
    auto edit = net != nullptr ? dsl::add_net_rule(text, agent, *net)
                               : dsl::add_fs_rule(text, agent, std::get<FsRule>(rule));
    if (!edit) throw Error(Errc::conflict, "the project file cannot be edited: " + edit.error());
    return std::move(*edit);
}

bool counts(const CagePolicy& policy, const NetRule& rule) {
    const auto same = [&](const NetRule& one) {
        return one.kind == rule.kind && one.host == rule.host && one.port == rule.port &&
               one.allow_private == rule.allow_private;
    };
    return std::any_of(policy.net.begin(), policy.net.end(), same);
}

bool counts(const CagePolicy& policy, const FsRule& rule) {
    const auto same = [&](const FsRule& one) {
        return one.target == rule.target && one.mode == rule.mode;
    };
    const bool workspace =
        rule.target == kWorkspace && policy.workspace_writable == (rule.mode == FsMode::rw);
    return workspace || std::any_of(policy.fs.begin(), policy.fs.end(), same);
}

/// The edited text must be a project again, in which the agent has the rule.
void check_edit(
    const dsl::Project& project, const CageCeiling& ceiling, const std::string& agent,
    const GrantRule& rule, const std::string& text
) {
    const auto loaded = dsl::load_project_text(project.root, text, &ceiling);
    if (!loaded.project) {
        std::vector<std::string> details;
        for (const auto& diagnostic : loaded.diagnostics) details.push_back(diagnostic.text());
        Error error(
            Errc::conflict, "with this rule the project file would not load" +
                                (details.empty() ? "" : ": " + details.front())
        );
        throw error.with_details(std::move(details));
    }
    const auto* changed = dsl::find_agent(*loaded.project, agent);
    const auto has = [&](const auto& one) {
        return changed != nullptr && counts(changed->cage, one);
    };
    if (!std::visit(has, rule))
        throw Error(
            Errc::conflict,
            "an overlay (project.local.yaml) decides over this cage: change it there"
        );
}

}  // namespace

Proposal propose_edit(
    const dsl::Project& project, const CageCeiling& ceiling, const std::string& agent,
    const GrantRule& rule
) {
    auto before = read_project_file(project.file);
    auto edit = edit_for(before, agent, rule);
    check_edit(project, ceiling, agent, rule, edit.text);
    return {std::move(before), std::move(edit.text), std::move(edit.diff)};
}

NetRule make_net_grant(const std::string& text, bool allow_private) {
    auto parsed = dsl::parse_net_rule(text);
    if (!parsed) {
        const auto& hint = parsed.error().hint;
        throw Error(
            Errc::invalid, "body.net: " + parsed.error().message + (hint.empty() ? "" : "; " + hint)
        );
    }
    if (dsl::names_private_address(*parsed) && !allow_private)
        throw Error(
            Errc::invalid,
            fmt::format("body.net: \"{}\" is a private address: it needs private: true", text)
        );
    parsed->allow_private = allow_private;
    return std::move(*parsed);
}

FsRule make_fs_grant(
    const dsl::Project& project, const std::string& path, const std::string& mode
) {
    if (mode != "ro" && mode != "rw") throw Error(Errc::invalid, "body.fs.mode: must be ro or rw");
    const auto uri = uri_of(path);
    const auto folder = dsl::ProjectFolder::open(project.root, ".volary");
    if (!folder) throw Error(Errc::unavailable, folder.error().message);
    const auto place = folder->resolve(uri, dsl::ProjectFolder::Want::anything);
    if (!place)
        throw Error(
            Errc::invalid, fmt::format("body.fs.path: \"{}\": {}", path, place.error().message)
        );
    if (mode == "rw") refuse_protected(*place);
    // Where its links lead: a cage follows none of them, and finds it at its own place.
    return fs_rule(project.root, place->resolved, mode);
}

std::vector<GrantRule> grants_for(
    const State& state, const dsl::Project& project, const std::string& agent
) {
    std::vector<GrantRule> out;
    for (const auto& grant : state.grants) {
        if (grant.agent != agent || grant.applied == "none") continue;
        const bool of_this_run = state.run && grant.run == state.run->id;
        if (grant.scope == "session" || (grant.scope == "project" && of_this_run))
            out.push_back(rule_of(grant, project));
    }
    return out;
}

}  // namespace volary::session
