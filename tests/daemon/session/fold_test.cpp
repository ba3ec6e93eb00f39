// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/session/grant.hpp"
#include "tests/daemon/session/fixture.hpp"

#include <random>
#include <set>
#include <utility>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::session;

namespace {

Command random_grant(std::size_t what) {
    Grant grant;
    grant.agent = what % 2 == 0 ? "primary" : "primary/scraper";
    grant.scope = static_cast<GrantScope>(what % 3);
    grant.rule = make_net_grant("h" + std::to_string(what) + ".example", false);
    if (grant.scope == GrantScope::project) grant.edit = ProjectEdit{"/p", "a", "b"};
    if (what % 5 == 0) grant.cage = CageId("cage_1");
    return grant;
}

/// Something that may or may not be allowed now: refusals are part of the life of a session.
Command random_command(Bench& bench, std::mt19937& random) {
    const auto pick = [&](std::size_t n) {
        return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
    };
    InvocationId inv("inv_none");
    if (!bench.state.invocations.empty())
        inv = bench.state.invocations[pick(bench.state.invocations.size())].id;
    StepId step("step_none");
    if (!bench.state.open_steps.empty())
        step = bench.state.open_steps[pick(bench.state.open_steps.size())].id;
    const CageId cage("cage_" + std::to_string(pick(60)));
    const auto url = Json{{"url", std::to_string(pick(6))}}.dump();
    switch (pick(22)) {
        case 0:
            return PostMessage{"message", "test"};
        case 1:
            return Hold{};
        case 2:
            return Resume{};
        case 3:
            return pick(4) == 0 ? Command(Stop{"enough", {}}) : Command(Resume{});
        case 4:
            return EditPlan{std::to_string(1 + pick(3)), "edited", {}};
        case 5:
            return CageStarted{inv, cage, {"a"}, "b", "bwrap", R"({"disabled":false})"};
        case 6:
            return CageExited{inv, cage, "exit 0", "exited"};
        case 7:
            return CageDenied{inv, cage, "dns", "name x", "x:443", "curl", 3};
        case 8:
            return Output{inv, "stdout", "text"};
        case 9:
            return RequestStep{bench.step(inv, pick(3) == 0 ? "subagent_result" : "shell")};
        case 10:
            return FinishStep{inv, step, true, "ok", 3, R"({"input_tokens":1})"};
        case 11:
            return FinishItem{inv, ItemId("item_1"), "text", "hello", false};
        case 12:
            return UpdatePlan{inv, {{"", "one", "pending"}, {"", "two", "completed"}}};
        case 13:
            return InvokeSubagent{inv, pick(2) == 0 ? "scraper" : "deployer", "task"};
        case 14:
            return EmitSignal{inv, "found_release", url};
        case 15:
            return FinishInvocation{inv, pick(3) == 0 ? "failed" : "succeeded", "why", "r"};
        case 16:
            return AgentSession{inv, "agent-session"};
        case 17:
            return random_grant(pick(200));
        case 18:
            return GrantFailed{static_cast<std::int64_t>(pick(40)), "next_start", "why"};
        case 19:
            return CageLimit{inv, cage, "memory", "2048 MiB"};
        case 20:
            return SettleChanges{SettleChanges::Verdict::kept, "primary", pick(9), {}};
        default:
            return pick(6) == 0 ? Command(Recover{}) : Command(Output{inv, "stderr", "e"});
    }
}

}  // namespace

TEST_CASE("folding the log gives the state that the decisions left", "[session]") {
    const auto seed = GENERATE(range(1U, 41U));
    Bench bench;
    std::mt19937 random(seed);
    for (int i = 0; i < 300; ++i) {
        const auto before = bench.state;
        try {
            bench.act(random_command(bench, random));
        } catch (const Error&) {
            REQUIRE(bench.state == before);
        }
    }
    REQUIRE(bench.log.size() > 20);
    CHECK(fold(bench.log) == bench.state);
    CHECK(from_projection(to_projection(bench.state)) == bench.state);
    for (std::size_t i = 0; i < bench.log.size(); ++i)
        REQUIRE(bench.log[i].seq == static_cast<std::int64_t>(i) + 1);
}

TEST_CASE("a run is never working without something alive or waiting", "[session]") {
    const auto seed = GENERATE(range(100U, 120U));
    Bench bench;
    std::mt19937 random(seed);
    for (int i = 0; i < 300; ++i) {
        try {
            bench.act(random_command(bench, random));
        } catch (const Error&) {
            continue;
        }
        if (!bench.state.run) continue;
        bool alive = !bench.state.waiting.empty();
        for (const auto& inv : bench.state.invocations)
            alive = alive || inv.state != InvocationState::finished;
        REQUIRE(alive);
    }
}

TEST_CASE("each pair of signal and rule fires at most once", "[session]") {
    const auto seed = GENERATE(range(200U, 220U));
    Bench bench;
    std::mt19937 random(seed);
    for (int i = 0; i < 400; ++i) {
        try {
            bench.act(random_command(bench, random));
        } catch (const Error&) {
            continue;
        }
    }
    std::set<std::pair<std::int64_t, int>> fired;
    for (const auto& event : bench.log) {
        if (event.kind != "interconnect.fired") continue;
        const auto body = Json::parse(event.body);
        REQUIRE(fired.emplace(body.at("signal_seq"), body.at("rule")).second);
    }
}

TEST_CASE("a gap in the log is refused", "[session]") {
    State state;
    Event event{SessionId("ses_1"), 2, 5, "session.created", "daemon", RunId(), "{}"};
    CHECK_THROWS_AS(apply(state, event), Error);
}

TEST_CASE("an event of an unknown kind moves only the position", "[session]") {
    State state;
    const Event event{SessionId("ses_1"), 1, 5, "of.tomorrow", "daemon", RunId(), R"({"a":1})"};
    apply(state, event);
    CHECK(state.last_seq == 1);
    CHECK_FALSE(state.run);
}

TEST_CASE("a projection that is not ours is told", "[session]") {
    CHECK_THROWS_AS(from_projection("{}"), Error);
    CHECK_THROWS_AS(from_projection("garbage"), Error);
}
