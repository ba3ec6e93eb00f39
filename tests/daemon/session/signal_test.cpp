// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "tests/daemon/session/fixture.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::session;

namespace {

EmitSignal found(const InvocationId& by, const std::string& url) {
    return {by, "found_release", Json{{"url", url}}.dump()};
}

std::string last_limit(const Bench& bench) {
    for (auto event = bench.log.rbegin(); event != bench.log.rend(); ++event) {
        if (event->kind == "interconnect.limited")
            return Json::parse(event->body).at("limit").get<std::string>();
    }
    return {};
}

}  // namespace

TEST_CASE("a signal starts the agent that its rule names, with its data", "[session]") {
    Bench bench;
    const auto scraper = bench.invoke(bench.begin(), "scraper");
    const auto started = effects_of<StartAgent>(bench.act(found(scraper, "u1")));
    REQUIRE(started.size() == 1);
    CHECK(started[0].agent == "primary/deployer");
    const auto input = Json::parse(started[0].input);
    CHECK(input.at("signal") == "found_release");
    CHECK(input.at("from") == "primary/scraper");
    CHECK(input.at("data").at("url") == "u1");
    const auto* deployer = bench.state.find_invocation(started[0].invocation);
    REQUIRE(deployer != nullptr);
    CHECK(deployer->cause.type == "signal");
    CHECK(deployer->cause.signal_seq > 0);
    CHECK(deployer->parent == scraper);
}

TEST_CASE("a rule fires once for what its dedupe key calls the same", "[session]") {
    Bench bench;
    const auto scraper = bench.invoke(bench.begin(), "scraper");
    bench.act(found(scraper, "u1"));
    CHECK(effects_of<StartAgent>(bench.act(found(scraper, "u1"))).empty());
    CHECK(bench.count("interconnect.fired") == 1);
    CHECK(last_limit(bench) == "dedupe");
}

TEST_CASE("a dedupe window lets the same fire again later", "[session]") {
    auto project = make_project();
    project.interconnect[0].dedupe_window = std::chrono::seconds(60);
    project.interconnect[0].max_in_flight = 5;
    Bench bench(project);
    const auto scraper = bench.invoke(bench.begin(), "scraper");
    bench.act(found(scraper, "u1"));
    bench.clock.advance(std::chrono::seconds(59));
    bench.act(found(scraper, "u1"));
    CHECK(bench.count("interconnect.fired") == 1);
    bench.clock.advance(std::chrono::seconds(2));
    bench.act(found(scraper, "u1"));
    CHECK(bench.count("interconnect.fired") == 2);
}

TEST_CASE("beyond max_in_flight firings wait in order", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto scraper = bench.invoke(primary, "scraper");
    const auto first = effects_of<StartAgent>(bench.act(found(scraper, "u1")));
    CHECK(effects_of<StartAgent>(bench.act(found(scraper, "u2"))).empty());
    CHECK(effects_of<StartAgent>(bench.act(found(scraper, "u3"))).empty());
    CHECK(bench.state.waiting.size() == 2);
    const auto next =
        effects_of<StartAgent>(bench.act(FinishInvocation{first[0].invocation, "succeeded", "", ""})
        );
    REQUIRE(next.size() == 1);
    CHECK(Json::parse(next[0].input).at("data").at("url") == "u2");
    // The run is over only when the last has had its turn.
    bench.finish(scraper);
    bench.finish(primary);
    CHECK(status_of(bench.state) == "working");
    bench.finish(next[0].invocation);
    CHECK(status_of(bench.state) == "working");
    bench.finish(bench.state.invocations.back().id);
    CHECK(status_of(bench.state) == "idle");
}

TEST_CASE("a held run fires rules but starts nothing until it is resumed", "[session]") {
    Bench bench;
    const auto scraper = bench.invoke(bench.begin(), "scraper");
    bench.act(Hold{});
    CHECK(effects_of<StartAgent>(bench.act(found(scraper, "u1"))).empty());
    CHECK(bench.count("interconnect.fired") == 1);
    CHECK(effects_of<StartAgent>(bench.act(Resume{})).size() == 1);
}

TEST_CASE("an undeclared signal is denied", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto scraper = bench.invoke(primary, "scraper");
    CHECK_THROWS_AS(bench.act(EmitSignal{scraper, "deploy_now", "{}"}), Error);
    CHECK_THROWS_AS(bench.act(EmitSignal{primary, "found_release", "{}"}), Error);
    CHECK(bench.count("signal.emitted") == 0);
}

TEST_CASE("a loop ends with an event", "[session]") {
    auto project = make_project();
    // The scraper answers its own signal: each firing is one deeper.
    project.interconnect[0].invoke = "primary/scraper";
    project.interconnect[0].dedupe.clear();
    project.interconnect[0].max_in_flight = 100;
    const auto action =
        GENERATE(dsl::InterconnectRule::OnLimit::drop, dsl::InterconnectRule::OnLimit::hold);
    project.interconnect[0].on_limit = action;
    Bench bench(project);
    auto deepest = bench.invoke(bench.begin(), "scraper");
    for (int i = 0; i < 10; ++i) {
        const auto started = effects_of<StartAgent>(bench.act(found(deepest, "u")));
        if (started.empty()) break;
        deepest = started[0].invocation;
    }
    CHECK(bench.state.find_invocation(deepest)->depth == 4);
    CHECK(last_limit(bench) == "max_depth");
    const bool holds = action == dsl::InterconnectRule::OnLimit::hold;
    CHECK(status_of(bench.state) == (holds ? "holding" : "working"));
}

TEST_CASE("a rule fires at most max_per_minute times a minute", "[session]") {
    auto project = make_project();
    project.interconnect[0].dedupe.clear();
    project.interconnect[0].max_per_minute = 3;
    project.interconnect[0].max_in_flight = 100;
    project.interconnect[0].on_limit = dsl::InterconnectRule::OnLimit::drop;
    Bench bench(project);
    const auto scraper = bench.invoke(bench.begin(), "scraper");
    for (int i = 0; i < 5; ++i) bench.act(found(scraper, "u"));
    CHECK(bench.count("interconnect.fired") == 3);
    CHECK(last_limit(bench) == "max_per_minute");
    bench.clock.advance(std::chrono::seconds(61));
    bench.act(found(scraper, "u"));
    CHECK(bench.count("interconnect.fired") == 4);
}

TEST_CASE("stop forgets firings that wait", "[session]") {
    Bench bench;
    const auto scraper = bench.invoke(bench.begin(), "scraper");
    bench.act(found(scraper, "u1"));
    bench.act(found(scraper, "u2"));
    bench.act(Stop{"enough", {}});
    CHECK(bench.state.waiting.empty());
    const auto invocations = bench.state.invocations;
    for (const auto& inv : invocations) bench.finish(inv.id, "failed");
    CHECK(status_of(bench.state) == "idle");
}

TEST_CASE("a failure of what a signal started fails the run, with its name", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto scraper = bench.invoke(primary, "scraper");
    const auto deployer = effects_of<StartAgent>(bench.act(found(scraper, "u1")))[0].invocation;
    bench.finish(scraper);
    bench.finish(primary);
    bench.finish(deployer, "failed");
    const auto body = Json::parse(bench.log.back().body);
    CHECK(body.at("outcome") == "failed");
    CHECK(body.at("reason") == "primary/deployer: exit 2");
}
