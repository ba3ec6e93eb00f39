// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "tests/daemon/session/fixture.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::session;

TEST_CASE("a message creates the session, its run and the primary's invocation", "[session]") {
    Bench bench;
    const auto decision = bench.act(PostMessage{"scrape the new releases", "test"});
    CHECK(
        bench.kinds() ==
        std::vector<std::string>{
            "session.created", "message.user", "run.started", "invocation.started"
        }
    );
    CHECK(decision.answer.seq == 2);
    CHECK(decision.answer.run == bench.state.run->id);
    CHECK(bench.state.title == "scrape the new releases");
    const auto started = effects_of<StartAgent>(decision);
    REQUIRE(started.size() == 1);
    CHECK(started[0].agent == "primary");
    CHECK(started[0].input == "scrape the new releases");
    CHECK(status_of(bench.state) == "working");
}

TEST_CASE("an empty message is refused and leaves nothing", "[session]") {
    Bench bench;
    CHECK(refused([&] { bench.act(PostMessage{" \n", "test"}); }) == Errc::invalid);
    CHECK(bench.state == State{});
}

TEST_CASE("a message to a working session waits its turn and then runs by itself", "[session]") {
    Bench bench;
    const auto primary = bench.begin("first");
    bench.act(PostMessage{"second", "test"});
    REQUIRE(bench.state.queue.size() == 1);
    CHECK(bench.state.run->text == "first");
    bench.finish(primary);
    CHECK(bench.state.queue.empty());
    REQUIRE(bench.state.run);
    CHECK(bench.state.run->text == "second");
}

TEST_CASE("a queued message can be cancelled, a running one cannot", "[session]") {
    Bench bench;
    bench.begin("first");
    const auto queued = bench.act(PostMessage{"second", "test"}).answer.run;
    bench.act(CancelQueued{queued});
    CHECK(bench.state.queue.empty());
    CHECK(refused([&] { bench.act(CancelQueued{bench.state.run->id}); }) == Errc::conflict);
    CHECK(refused([&] { bench.act(CancelQueued{RunId("run_x")}); }) == Errc::not_found);
}

TEST_CASE("a run succeeds when the primary has, and tells a failure as one", "[session]") {
    const auto outcome = GENERATE(as<std::string>{}, "succeeded", "failed");
    Bench bench;
    bench.finish(bench.begin(), outcome);
    const auto body = Json::parse(bench.log.back().body);
    CHECK(bench.log.back().kind == "run.finished");
    CHECK(body.at("outcome") == outcome);
    CHECK(status_of(bench.state) == "idle");
}

TEST_CASE("stop ends the run, keeps the queue and starts nothing", "[session]") {
    Bench bench;
    const auto primary = bench.begin("first");
    const auto scraper = bench.invoke(primary, "scraper");
    bench.act(PostMessage{"second", "test"});
    const auto decision = bench.act(Stop{"enough", {}});
    const auto stops = effects_of<StopAgents>(decision);
    REQUIRE(stops.size() == 1);
    CHECK(stops[0].invocations == std::vector<InvocationId>{primary, scraper});
    CHECK(status_of(bench.state) == "stopping");
    CHECK(refused([&] { bench.act(InvokeSubagent{primary, "scraper", "x"}); }) == Errc::conflict);
    CHECK(refused([&] { bench.act(RequestStep{bench.step(primary)}); }) == Errc::conflict);
    bench.finish(scraper, "failed");
    bench.finish(primary, "failed");
    CHECK(status_of(bench.state) == "idle");
    CHECK(Json::parse(bench.log.back().body).at("outcome") == "stopped");
    CHECK(bench.state.queue.size() == 1);
    bench.act(Resume{});
    CHECK(bench.state.run->text == "second");
}

TEST_CASE("an act that names a run does not hit the one after it", "[session]") {
    Bench bench;
    const auto primary = bench.begin("first");
    const auto first = bench.state.run->id;
    bench.act(PostMessage{"second", "test"});
    bench.finish(primary);
    CHECK(refused([&] { bench.act(Stop{"late", first}); }) == Errc::conflict);
    CHECK(refused([&] { bench.act(Hold{first}); }) == Errc::conflict);
    CHECK(status_of(bench.state) == "working");
    bench.act(Hold{bench.state.run->id});
    CHECK(refused([&] { bench.act(Resume{first}); }) == Errc::conflict);
    bench.act(Stop{"now", bench.state.run->id});
    CHECK(status_of(bench.state) == "stopping");
}

TEST_CASE("control of what does not run is refused", "[session]") {
    Bench bench;
    bench.finish(bench.begin());
    CHECK(refused([&] { bench.act(Hold{}); }) == Errc::conflict);
    CHECK(refused([&] { bench.act(Resume{}); }) == Errc::conflict);
    CHECK(refused([&] { bench.act(Stop{}); }) == Errc::conflict);
    CHECK(refused([&] { bench.act(EditPlan{"1", "x", {}}); }) == Errc::conflict);
}

TEST_CASE("a step is admitted while working, and waits while held", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto first = bench.step(primary);
    const auto admitted = effects_of<AdmitStep>(bench.act(RequestStep{first}));
    REQUIRE(admitted.size() == 1);
    bench.act(Hold{});
    CHECK(status_of(bench.state) == "holding");
    bench.act(FinishStep{primary, first.id, true, "ok", 5, ""});
    CHECK(status_of(bench.state) == "holding");
    const auto second = bench.step(primary);
    CHECK(effects_of<AdmitStep>(bench.act(RequestStep{second})).empty());
    CHECK(status_of(bench.state) == "held");
    REQUIRE(bench.state.pending_steps.size() == 1);
    const auto resumed = effects_of<AdmitStep>(bench.act(Resume{}));
    REQUIRE(resumed.size() == 1);
    CHECK(resumed[0].step == second.id);
    CHECK(bench.state.pending_steps.empty());
    CHECK(bench.state.open_steps.size() == 1);
}

TEST_CASE("a parent that waits for a held child is held as well", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    bench.act(RequestStep{bench.step(primary, "subagent_result")});
    const auto scraper = bench.invoke(primary, "scraper");
    bench.act(Hold{});
    CHECK(status_of(bench.state) == "holding");
    bench.act(RequestStep{bench.step(scraper)});
    CHECK(status_of(bench.state) == "held");
}

TEST_CASE("an edit of the plan needs a hold and reaches the primary on resume", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    bench.act(
        UpdatePlan{primary, {{"", "scrape", "completed"}, {"", "publish to production", "pending"}}}
    );
    CHECK(refused([&] { bench.act(EditPlan{"2", "publish to staging", {}}); }) == Errc::conflict);
    bench.act(Hold{});
    CHECK(refused([&] { bench.act(EditPlan{"9", "x", {}}); }) == Errc::not_found);
    CHECK(refused([&] { bench.act(EditPlan{"2", {}, {}}); }) == Errc::invalid);
    CHECK(refused([&] { bench.act(EditPlan{"2", {}, "done"}); }) == Errc::invalid);
    bench.act(EditPlan{"2", "publish to staging", {}}, "operator:phone");
    CHECK(bench.state.plan.entries[1].text == "publish to staging");
    CHECK(bench.log.back().actor == "operator:phone");
    bench.act(RequestStep{bench.step(primary)});
    const auto admitted = effects_of<AdmitStep>(bench.act(Resume{}));
    REQUIRE(admitted.size() == 1);
    REQUIRE(admitted[0].notes.size() == 1);
    CHECK(
        admitted[0].notes[0] ==
        "The operator edited plan entry 2: \"publish to production\" is now "
        "\"publish to staging\" (pending)."
    );
    CHECK(bench.count("agent.note") == 1);
    // Told once.
    const auto next = effects_of<AdmitStep>(bench.act(RequestStep{bench.step(primary)}));
    REQUIRE(next.size() == 1);
    CHECK(next[0].notes.empty());
}

TEST_CASE("a note waits for the primary's next step when it had none pending", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    bench.act(UpdatePlan{primary, {{"a", "publish", "pending"}}});
    bench.act(RequestStep{bench.step(primary, "subagent_result")});
    bench.act(Hold{});
    CHECK(status_of(bench.state) == "held");
    bench.act(EditPlan{"a", "do not publish", {}});
    CHECK(effects_of<AdmitStep>(bench.act(Resume{})).empty());
    const auto admitted = effects_of<AdmitStep>(bench.act(RequestStep{bench.step(primary)}));
    REQUIRE(admitted.size() == 1);
    CHECK(admitted[0].notes.size() == 1);
}

TEST_CASE("only the primary keeps the plan", "[session]") {
    Bench bench;
    const auto scraper = bench.invoke(bench.begin(), "scraper");
    CHECK(refused([&] { bench.act(UpdatePlan{scraper, {{"", "x", "pending"}}}); }) == Errc::denied);
}

TEST_CASE("an agent invokes its own subagents and nobody else's", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto scraper = bench.invoke(primary, "scraper");
    CHECK(bench.state.find_invocation(scraper)->depth == 1);
    CHECK(bench.state.find_invocation(scraper)->parent == primary);
    CHECK(refused([&] { bench.act(InvokeSubagent{scraper, "deployer", "x"}); }) == Errc::not_found);
    CHECK(refused([&] { bench.act(InvokeSubagent{primary, "nobody", "x"}); }) == Errc::not_found);
}

TEST_CASE("late words of a finished invocation change nothing", "[session]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto scraper = bench.invoke(primary, "scraper");
    bench.finish(scraper);
    const auto events = bench.log.size();
    bench.finish(scraper, "failed");
    bench.act(FinishStep{scraper, StepId("step_1"), true, "", 0, ""});
    CHECK(bench.log.size() == events);
    CHECK(refused([&] {
              bench.act(EmitSignal{scraper, "found_release", "{}"});
          }) == Errc::conflict);
}

TEST_CASE("a restart gives what was under way the verdict lost", "[session]") {
    Bench bench;
    const auto primary = bench.begin("first");
    bench.invoke(primary, "scraper");
    bench.act(PostMessage{"second", "test"});
    const FinishItem item{primary, ItemId("item_1"), "text", "half a sen", true};
    bench.act(Recover{{item}}, "daemon");
    CHECK(status_of(bench.state) == "idle");
    CHECK(bench.count("invocation.finished") == 2);
    CHECK(Json::parse(bench.log.back().body).at("outcome") == "lost");
    CHECK(bench.state.queue.size() == 1);
    CHECK(bench.count("message.agent") == 1);
}
