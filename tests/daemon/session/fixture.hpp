// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/error.hpp"
#include "daemon/session/decide.hpp"
#include "daemon/session/fold.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace volary::session {

/// A project with a primary, a builtin scraper, and an exec deployer behind one rule.
inline dsl::Project make_project() {
    dsl::Project project;
    project.name = "music-site";
    project.primary.name = project.primary.path = "primary";
    dsl::Agent scraper;
    scraper.name = "scraper";
    scraper.path = "primary/scraper";
    scraper.signals = {"found_release"};
    dsl::Agent deployer;
    deployer.name = "deployer";
    deployer.path = "primary/deployer";
    deployer.runner.kind = dsl::Runner::Kind::exec;
    project.primary.subagents = {scraper, deployer};
    dsl::InterconnectRule rule;
    rule.on = "found_release";
    rule.from = "primary/scraper";
    rule.invoke = "primary/deployer";
    rule.dedupe = {"/url"};
    project.interconnect = {rule};
    return project;
}

/// A session that is driven by hand: each command is decided and its events kept.
class Bench {
public:
    explicit Bench(dsl::Project p = make_project()) : project(std::move(p)) {}

    Decision act(const Command& command, const std::string& actor = "operator:test") {
        const Context context{project, clock, actor, session, ceiling};
        auto decision = decide(state, command, context);
        for (const auto& event : decision.events) log.push_back(event);
        clock.advance(std::chrono::milliseconds(1));
        return decision;
    }

    /// Posts a message and brings the primary to life; its invocation.
    InvocationId begin(const std::string& text = "go") {
        act(PostMessage{text, "test"});
        const auto id = state.invocations.front().id;
        act(CageStarted{id, CageId("cage_1"), {"none"}, "none", "bwrap"}, "daemon");
        return id;
    }

    InvocationId invoke(const InvocationId& parent, const std::string& agent) {
        const auto id = act(InvokeSubagent{parent, agent, "task"}).answer.invocation;
        act(CageStarted{id, CageId("cage_2"), {"none"}, "none", "bwrap"}, "daemon");
        return id;
    }

    Step step(const InvocationId& invocation, const std::string& name = "smart") {
        return {StepId::make(clock), invocation, "tool", name, name, "{}"};
    }

    void finish(const InvocationId& invocation, const std::string& outcome = "succeeded") {
        act(FinishInvocation{invocation, outcome, outcome == "failed" ? "exit 2" : "", "done"});
    }

    /// Every wait for a firing that was started, as (agent, invocation).
    std::vector<std::string> kinds() const {
        std::vector<std::string> out;
        for (const auto& event : log) out.push_back(event.kind);
        return out;
    }

    std::size_t count(const std::string& kind) const {
        std::size_t n = 0;
        for (const auto& event : log) n += event.kind == kind ? 1U : 0U;
        return n;
    }

    dsl::Project project;
    CageCeiling ceiling;
    ManualClock clock;
    SessionId session{"ses_01JD0000000000000000000000"};
    State state;
    std::vector<Event> log;
};

template <class E>
std::vector<E> effects_of(const Decision& decision) {
    std::vector<E> out;
    for (const auto& effect : decision.effects) {
        if (const auto* wanted = std::get_if<E>(&effect)) out.push_back(*wanted);
    }
    return out;
}

/// The code of the error that `act` ends with; fails the test when there is none.
template <class Act>
Errc refused(Act act) {
    try {
        act();
    } catch (const Error& error) {
        return error.code();
    }
    FAIL("was not refused");
    return Errc::internal;
}

}  // namespace volary::session
