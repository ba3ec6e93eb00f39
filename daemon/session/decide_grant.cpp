// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/session/draft.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

const dsl::Agent& agent_named(const dsl::Project& project, const std::string& path) {
    const auto* agent = dsl::find_agent(project, path);
    if (agent == nullptr)
        throw Error(Errc::not_found, fmt::format("the project has no agent \"{}\"", path));
    return *agent;
}

/// The cages that are meant and live; throws when the one that was named cannot be it.
std::vector<CageId> live_cages(const State& state, const Grant& command) {
    std::vector<CageId> out;
    if (!command.cage.empty()) {
        const auto* cage = state.find_cage(command.cage);
        if (cage == nullptr || cage->agent != command.agent)
            throw Error(
                Errc::not_found,
                fmt::format("{} has no cage {} here", command.agent, command.cage.str())
            );
        if (cage->running) out.push_back(cage->id);
        return out;
    }
    for (const auto& cage : state.cages) {
        if (cage.running && cage.agent == command.agent) out.push_back(cage.id);
    }
    return out;
}

void refuse_disabled(const State& state, const dsl::Agent& agent, const Grant& command) {
    const auto bare = [&](const CageRecord& cage) {
        return cage.disabled && cage.running && cage.agent == command.agent;
    };
    const auto& cages = state.cages;
    if (!agent.cage.disabled && std::none_of(cages.begin(), cages.end(), bare)) return;
    throw Error(
        Errc::conflict, agent.path +
                            " has `cage: disabled`: it may do everything that the daemon "
                            "may, so there is nothing to grant"
    );
}

/// What the grant itself asks beyond the ceiling; what the policy did before is not its fault.
void refuse_excess(const dsl::Agent& agent, const CageCeiling& ceiling, const GrantRule& rule) {
    auto policy = agent.cage;
    auto known = exceeding(policy, ceiling);
    add_to(policy, rule);
    auto problems = exceeding(policy, ceiling);
    std::erase_if(problems, [&](const std::string& problem) {
        return std::find(known.begin(), known.end(), problem) != known.end();
    });
    if (problems.empty()) return;
    Error error(Errc::denied, "the grant goes beyond the operator's ceiling: " + problems.front());
    throw error.with_details(std::move(problems));
}

void refuse_too_many(const State& state) {
    const auto lasts = [](const Granted& grant) { return grant.scope == "session"; };
    const auto& all = state.grants;
    if (std::count_if(all.begin(), all.end(), lasts) < static_cast<std::ptrdiff_t>(kMaxGrants))
        return;
    throw Error(
        Errc::busy,
        fmt::format("a session has at most {} grants: write them to the project file", kMaxGrants)
    );
}

Json grant_body(const Draft& draft, const Grant& command, const std::vector<CageId>& cages) {
    Json ids = Json::array();
    for (const auto& cage : cages) ids.push_back(cage.str());
    Json body = {
        {"agent", command.agent},
        {"cages", std::move(ids)},
        {"layer", layer_of(command.rule)},
        {"rule", words_of(command.rule)},
        {"scope", to_string(command.scope)},
        {"applied", cages.empty() ? "next_start" : "live"},
        {"by", draft.context.actor}
    };
    if (cages.size() == 1) {
        body["cage"] = cages.front().str();
        body["invocation"] = draft.state.find_cage(cages.front())->invocation.str();
    }
    if (const auto* net = std::get_if<NetRule>(&command.rule)) {
        body["private"] = net->allow_private;
    } else {
        const auto& fs = std::get<FsRule>(command.rule);
        body["path"] = fs.source == fs.root ? "" : fs.source.substr(fs.root.size() + 1);
        body["mode"] = to_string(fs.mode);
    }
    if (command.edit) body["file"] = command.edit->file;
    return body;
}

}  // namespace

void check_grant(
    const State& state, const dsl::Project& project, const CageCeiling& ceiling,
    const Grant& command
) {
    const auto& agent = agent_named(project, command.agent);
    refuse_disabled(state, agent, command);
    if (live_cages(state, command).empty() && command.scope == GrantScope::once)
        throw Error(
            Errc::conflict, fmt::format(
                                "{} has ended: once is for a cage that lives; grant it for the "
                                "session",
                                command.cage.empty() ? "every cage of " + command.agent
                                                     : "the cage " + command.cage.str()
                            )
        );
    refuse_excess(agent, ceiling, command.rule);
    refuse_too_many(state);
}

void decide_grant(Draft& draft, const Grant& command) {
    check_grant(draft.state, draft.context.project, draft.context.ceiling, command);
    if (command.scope == GrantScope::project && !command.edit)
        throw Error(Errc::internal, "a grant for the project without its edit");
    const auto cages = live_cages(draft.state, command);
    const auto granted = draft.emit("cage.granted", grant_body(draft, command, cages)).seq;
    ApplyGrant apply{granted, command.agent, cages, command.rule, command.scope, command.edit};
    draft.effect(std::move(apply));
}

void decide_report(Draft& draft, const GrantFailed& command) {
    if (draft.state.find_grant(command.granted) == nullptr) return;
    draft.emit(
        "cage.grant_failed",
        {{"granted", command.granted}, {"applied", command.applied}, {"reason", command.reason}}
    );
}

void decide_changes(Draft& draft, const SettleChanges& command) {
    constexpr std::size_t kMaxRefused = 50;  // of which a person reads the reasons
    const bool kept = command.verdict == SettleChanges::Verdict::kept;
    auto refused = command.refused;
    if (refused.size() > kMaxRefused) refused.resize(kMaxRefused);
    draft.emit(
        kept ? "cage.changes_kept" : "cage.changes_dropped", {{"agent", command.agent},
                                                              {"paths", command.paths},
                                                              {"refused", std::move(refused)},
                                                              {"by", draft.context.actor}}
    );
}

}  // namespace volary::session
