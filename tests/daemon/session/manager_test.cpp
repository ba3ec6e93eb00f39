// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/manager.hpp"

#include "base/error.hpp"
#include "daemon/session/hub.hpp"
#include "daemon/session/import.hpp"
#include "daemon/session/projects.hpp"
#include "daemon/store/store.hpp"
#include "tests/support/loop.hpp"

#include <algorithm>
#include <optional>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::session;
using namespace boost::asio::experimental::awaitable_operators;

namespace {

/// Keeps what the sessions want to have done.
class KeepingAgents final : public Agents {
public:
    void carry_out(
        const SessionId&, const std::shared_ptr<const dsl::Project>&, const Effect& effect
    ) override {
        effects.push_back(effect);
    }
    void durable(const StreamMark& mark) override { marks.push_back(mark); }
    std::vector<StreamMark> marks;
    std::vector<Effect> effects;
};

/// What a daemon holds of sessions while it runs.
struct Life {
    Life(test::Loop& on, const std::string& folder)
        : loop(on), store(store::Store::open({folder + "/v.db"}, clock)) {
        sessions.connect(agents);
    }
    ~Life() { loop.run(close()); }

    asio::awaitable<void> start(std::map<InvocationId, CageId> alive) {
        co_await projects.load();
        co_await sessions.recover(std::move(alive), true);
    }
    asio::awaitable<void> close() {
        co_await sessions.close();
        co_await store->close();
    }

    test::Loop& loop;
    SystemClock clock;
    std::unique_ptr<store::Store> store;
    Hub hub;
    Projects projects{*store, clock};
    KeepingAgents agents;
    Manager sessions{loop.executor(), *store, projects, hub, clock};
};

constexpr const char* kProject = R"(version: 1
project: shop
description: a small project
primary:
  model: smart
  system_prompt: project:/prompt.md
)";

struct Fixture {
    test::TempFolder folder;
    test::Loop loop;
    std::unique_ptr<Life> life = std::make_unique<Life>(loop, folder.path());

    Fixture() {
        folder.write("project/.volary/project.yaml", kProject);
        folder.write("project/prompt.md", "You keep a shop.");
        (void)loop.run(life->projects.add(folder.path() + "/project"));
    }

    void restart() {
        life.reset();
        life = std::make_unique<Life>(loop, folder.path());
        loop.run(life->start(alive));
    }

    /// The primary's cage runs; its invocation.
    InvocationId start_cage(const SessionId& session) {
        const auto id = state(session).invocations.front().id;
        report(session, CageStarted{id, CageId("cage_1"), {"none"}, "none", "bwrap"});
        life->agents.effects.clear();
        return id;
    }
    std::map<InvocationId, CageId> alive;  ///< what the next restart finds

    static Mutation mutation(std::string key, std::string request) {
        return {"operator:test", "POST /messages", std::move(key), std::move(request)};
    }
    asio::awaitable<Answer> posting(
        std::string text, std::string key = {}, std::string session = {}
    ) {
        auto act = mutation(std::move(key), text);
        return life->sessions.post(
            "shop", std::move(session), {std::move(text), "test"}, std::move(act)
        );
    }
    Answer post(std::string text, std::string key = {}, std::string session = {}) {
        return loop.run(posting(std::move(text), std::move(key), std::move(session)));
    }
    Answer operate(const SessionId& session, Command command, std::string key = {}) {
        return loop.run(
            life->sessions.operate(session, std::move(command), mutation(std::move(key), "{}"))
        );
    }
    Answer report(const SessionId& session, Command command) {
        return loop.run(life->sessions.report(session, "agent:primary", std::move(command)));
    }
    State state(const SessionId& session) { return loop.run(life->sessions.state(session)); }
    std::vector<Event> log(const SessionId& session) {
        return loop.run(life->store->events(session, 0, 1000));
    }
    std::size_t count(const SessionId& session, const std::string& kind) {
        const auto events = log(session);
        return static_cast<std::size_t>(std::count_if(
            events.begin(), events.end(), [&](const Event& event) { return event.kind == kind; }
        ));
    }
    std::int64_t sessions_stored() { return loop.run(life->store->counts()).sessions; }
};

template <class Act>
std::optional<Errc> refusal(Act act) {
    try {
        act();
    } catch (const Error& error) {
        return error.code();
    }
    return std::nullopt;
}

Json body_of_last(const std::vector<Event>& log, const std::string& kind) {
    const auto found = std::find_if(log.rbegin(), log.rend(), [&](const Event& event) {
        return event.kind == kind;
    });
    REQUIRE(found != log.rend());
    return Json::parse(found->body);
}

/// Hears a session.
class Ear final : public Listener {
public:
    void on_event(const SessionId&, std::int64_t seq, const Message&) override {
        seqs.push_back(seq);
    }
    void on_delta(const SessionId&, const Message&) override {}
    void on_summary(const Message&) override {}
    std::vector<std::int64_t> seqs;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a message is durable when it is answered", "[session]") {
    const auto answer = post("go");
    const auto events = log(answer.session);
    REQUIRE(events.size() >= 2);
    CHECK(events[0].kind == "session.created");
    const auto at = static_cast<std::size_t>(answer.seq - 1);
    CHECK(events.at(at).kind == "message.user");
    CHECK(events.at(at).run == answer.run);
    CHECK(Json::parse(events.at(at).body)["id"] == answer.message.str());
}

TEST_CASE_METHOD(Fixture, "the same act sent twice is done once", "[session]") {
    const auto first = post("go", "key-1");
    CHECK(post("go", "key-1") == first);
    CHECK(count(first.session, "message.user") == 1);
    CHECK(sessions_stored() == 1);
}

TEST_CASE_METHOD(Fixture, "the same act sent twice at once is done once", "[session]") {
    const auto [first, second] = loop.run(posting("go", "key-1") && posting("go", "key-1"));
    CHECK(first == second);
    CHECK(count(first.session, "message.user") == 1);
    CHECK(sessions_stored() == 1);
}

TEST_CASE_METHOD(Fixture, "one that waited for an act that failed takes its turn", "[session]") {
    const auto created = post("one").session;
    const auto hold = [&](const std::string& key) {
        return life->sessions.operate(created, Hold{}, mutation(key, "{}"));
    };
    (void)loop.run(hold("key-1"));
    // Held already: each of the three is refused, none of them with the answer of another.
    const auto refused = [](asio::awaitable<Answer> act) -> asio::awaitable<bool> {
        try {
            (void)co_await std::move(act);
        } catch (const Error& error) {
            co_return error.code() == Errc::conflict;
        }
        co_return false;
    };
    const auto [first, second, third] =
        loop.run(refused(hold("key-2")) && refused(hold("key-2")) && refused(hold("key-2")));
    CHECK(first);
    CHECK(second);
    CHECK(third);
}

TEST_CASE_METHOD(Fixture, "the same import sent twice at once is done once", "[session]") {
    const SessionId id = SessionId::make(life->clock);
    Event created;
    created.session = id;
    created.seq = 1;
    created.at = life->clock.now_ms();
    created.kind = "session.created";
    created.actor = "operator:there";
    created.body = R"({"project":"shop","title":"from elsewhere"})";
    const SessionExport what{id, "shop", {created}, "00"};
    const auto import = [&](std::string key) {
        return life->sessions.import(what, mutation(std::move(key), id.str()));
    };
    const auto [first, second, third] =
        loop.run(import("key-1") && import("key-1") && import("key-1"));
    CHECK(first == second);
    CHECK(first == third);
    CHECK(first.session == id);
    CHECK(count(id, "session.imported") == 1);
    CHECK(refusal([&] { (void)loop.run(import("key-2")); }) == Errc::conflict);
}

TEST_CASE_METHOD(Fixture, "a key is remembered across a restart", "[session]") {
    const auto first = post("go", "key-1");
    restart();
    CHECK(post("go", "key-1") == first);
    CHECK(count(first.session, "message.user") == 1);
}

TEST_CASE_METHOD(Fixture, "a key under which something else was asked is a conflict", "[session]") {
    const auto first = post("go", "key-1");
    CHECK(refusal([&] { post("stop", "key-1"); }) == Errc::conflict);
    CHECK(count(first.session, "message.user") == 1);
}

TEST_CASE_METHOD(Fixture, "two messages at once create one session", "[session]") {
    const auto [first, second] = loop.run(posting("one") && posting("two"));
    CHECK(first.session == second.session);
    CHECK(first.message != second.message);
    CHECK(count(first.session, "message.user") == 2);
    CHECK(count(first.session, "session.created") == 1);
    CHECK(sessions_stored() == 1);
}

TEST_CASE_METHOD(
    Fixture, "a message goes to the active session unless told otherwise", "[session]"
) {
    const auto first = post("one");
    CHECK(post("two").session == first.session);
    const auto fresh = post("three", "", "new");
    CHECK(fresh.session != first.session);
    CHECK(post("four").session == fresh.session);
    CHECK(post("five", "", first.session.str()).session == first.session);
    CHECK(post("six").session == first.session);
}

TEST_CASE_METHOD(Fixture, "messages for what is not there are refused", "[session]") {
    CHECK(refusal([&] { post("x", "", "ses_01JD0000000000000000000000"); }) == Errc::not_found);
    CHECK(refusal([&] {
              (void)loop.run(life->sessions.post("other", "", {"x", "test"}, mutation("", "x")));
          }) == Errc::not_found);
    CHECK(sessions_stored() == 0);
}

TEST_CASE_METHOD(Fixture, "a refused first message leaves no session behind", "[session]") {
    CHECK(refusal([&] { post("", "key-1"); }) == Errc::invalid);
    CHECK(sessions_stored() == 0);
    const auto answer = post("go", "key-1");
    CHECK(count(answer.session, "session.created") == 1);
    CHECK(sessions_stored() == 1);
}

TEST_CASE_METHOD(Fixture, "a refused command leaves nothing", "[session]") {
    const auto session = post("go").session;
    const auto before = log(session);
    CHECK(refusal([&] { operate(session, Resume{}, "key-2"); }) == Errc::conflict);
    EditPlan edit;
    edit.entry = "1";
    edit.text = "else";
    CHECK(refusal([&] { operate(session, edit); }) == Errc::conflict);
    CHECK(log(session) == before);
    // The key of a refused act is free.
    operate(session, Hold{});
    CHECK_FALSE(refusal([&] { operate(session, Resume{}, "key-2"); }));
}

TEST_CASE_METHOD(Fixture, "effects follow the commit", "[session]") {
    const auto answer = post("go");
    REQUIRE(life->agents.effects.size() == 1);
    const auto* start = std::get_if<StartAgent>(&life->agents.effects.front());
    REQUIRE(start != nullptr);
    CHECK(start->agent == "primary");
    CHECK(start->input == "go");
    CHECK(start->run == answer.run);
}

TEST_CASE_METHOD(Fixture, "followers hear each event once and in order", "[session]") {
    const auto session = post("go").session;
    const auto first = loop.run(life->sessions.last_seq(session));
    Ear ear;
    life->hub.follow(session, ear);
    (void)loop.run(posting("a") && posting("b") && posting("c"));
    life->hub.unfollow(session, ear);
    const auto last = loop.run(life->sessions.last_seq(session));
    REQUIRE(ear.seqs.size() == static_cast<std::size_t>(last - first));
    for (std::size_t i = 0; i < ear.seqs.size(); ++i)
        CHECK(ear.seqs[i] == first + 1 + static_cast<std::int64_t>(i));
}

TEST_CASE_METHOD(
    Fixture, "what was under way when the daemon died is lost, and says so", "[session]"
) {
    const auto answer = post("go");
    const auto invocation = start_cage(answer.session);
    restart();
    const auto now = state(answer.session);
    CHECK_FALSE(now.run);
    const auto events = log(answer.session);
    CHECK(body_of_last(events, "cage.recovered")["verdict"] == "lost");
    CHECK(body_of_last(events, "invocation.finished")["outcome"] == "lost");
    CHECK(body_of_last(events, "invocation.finished")["id"] == invocation.str());
    CHECK(body_of_last(events, "run.finished")["outcome"] == "lost");
    CHECK(events.back().actor == "daemon");
    const auto run = loop.run(life->store->find_run(answer.run));
    REQUIRE(run);
    CHECK(run->status == "finished");
    CHECK(run->outcome == "lost");
}

TEST_CASE_METHOD(Fixture, "an agent that never began is started by the next daemon", "[session]") {
    const auto answer = post("go");
    const auto invocation = state(answer.session).invocations.front().id;
    restart();
    REQUIRE(life->agents.effects.size() == 1);
    const auto* start = std::get_if<StartAgent>(&life->agents.effects.front());
    REQUIRE(start != nullptr);
    CHECK(start->invocation == invocation);
    CHECK(start->input == "go");
    CHECK(state(answer.session).run);
    CHECK(count(answer.session, "invocation.started") == 1);
}

TEST_CASE_METHOD(
    Fixture, "an agent whose cage lives is gone on with where its log ends", "[session]"
) {
    const auto session = post("go").session;
    const auto invocation = start_cage(session);
    Step step{StepId("step_1"), invocation, "tool", "shell", "ls", "{}", "own-1"};
    const StreamMark mark{CageId("cage_1"), 0, 420};
    (void)loop.run(life->sessions.report(session, "agent:primary", RequestStep{step}, mark));
    REQUIRE(life->agents.marks.size() == 1);
    CHECK(life->agents.marks.front().offset == 420);
    const StreamMark late{CageId("cage_1"), 0, 400};
    (void)loop.run(life->sessions.report(session, "agent:primary", PassStream{}, late));
    life->sessions.stream(session, "agent:primary", invocation, "text", "half a sen");

    alive = {{invocation, CageId("cage_1")}};
    restart();
    CHECK(state(session).run);
    CHECK(count(session, "message.agent") == 0);
    REQUIRE(life->agents.effects.size() == 1);
    const auto* adopt = std::get_if<AdoptAgent>(&life->agents.effects.front());
    REQUIRE(adopt != nullptr);
    CHECK(adopt->start.invocation == invocation);
    CHECK(adopt->survivor.cage == CageId("cage_1"));
    CHECK(adopt->survivor.applied == std::map<int, std::uint64_t>{{0, 420}});
    CHECK(adopt->steps == std::map<std::string, StepId>{{"own-1", step.id}});
    CHECK_FALSE(adopt->stopping);

    // The same step asked for again is admitted again, and is no second one.
    report(session, RequestStep{step});
    CHECK(count(session, "step.started") == 1);
    REQUIRE(life->agents.effects.size() == 2);
    CHECK(std::holds_alternative<AdmitStep>(life->agents.effects.back()));
}

TEST_CASE_METHOD(Fixture, "a second restart finds nothing to recover", "[session]") {
    const auto session = post("go").session;
    start_cage(session);
    restart();
    const auto events = log(session);
    restart();
    CHECK(log(session) == events);
}

TEST_CASE_METHOD(
    Fixture, "a queued message outlives the daemon and waits for a word", "[session]"
) {
    const auto first = post("one");
    const auto second = post("two");
    start_cage(first.session);
    restart();
    CHECK(count(first.session, "run.started") == 1);
    const auto now = state(first.session);
    CHECK_FALSE(now.run);
    REQUIRE(now.queue.size() == 1);
    CHECK(now.queue.front().run == second.run);
    for (const auto& effect : life->agents.effects)
        CHECK_FALSE(std::holds_alternative<StartAgent>(effect));
}

TEST_CASE_METHOD(Fixture, "a streamed text becomes one event when it ends", "[session]") {
    const auto session = post("go").session;
    const auto invocation = state(session).invocations.front().id;
    life->sessions.stream(session, "agent:primary", invocation, "text", "Good ");
    life->sessions.stream(session, "agent:primary", invocation, "text", "day");
    REQUIRE(life->sessions.open_items(session).size() == 1);
    CHECK(life->sessions.open_items(session).front().text == "Good day");
    life->sessions.end_stream(session, "agent:primary", invocation);
    CHECK(life->sessions.open_items(session).empty());
    loop.run_while_not([&] { return count(session, "message.agent") == 1; });
    const auto body = body_of_last(log(session), "message.agent");
    CHECK(body["text"] == "Good day");
    CHECK_FALSE(body.contains("partial"));
}

TEST_CASE_METHOD(Fixture, "a thought ends the text before it", "[session]") {
    const auto session = post("go").session;
    const auto invocation = state(session).invocations.front().id;
    life->sessions.stream(session, "agent:primary", invocation, "text", "said");
    life->sessions.stream(session, "agent:primary", invocation, "thought", "hm");
    CHECK(life->sessions.open_items(session).front().kind == "thought");
    loop.run_while_not([&] { return count(session, "message.agent") == 1; });
}

TEST_CASE_METHOD(Fixture, "a waiter hears that an invocation has finished", "[session]") {
    const auto session = post("go").session;
    const auto invocation = state(session).invocations.front().id;
    CHECK(refusal([&] {
              (void)loop.run(
                  life->sessions.wait_finished(session, invocation, std::chrono::milliseconds(1))
              );
          }) == Errc::timeout);
    CHECK(refusal([&] {
              (void)loop.run(life->sessions.wait_finished(
                  session, InvocationId("inv_other"), std::chrono::seconds(5)
              ));
          }) == Errc::not_found);
    life->sessions.tell(
        session, "agent:primary", FinishInvocation{invocation, "succeeded", "", "done"}
    );
    const auto finished =
        loop.run(life->sessions.wait_finished(session, invocation, std::chrono::seconds(20)));
    CHECK(finished.outcome == "succeeded");
    CHECK_FALSE(state(session).run);
}

TEST_CASE_METHOD(Fixture, "what an agent says of a finished invocation is refused", "[session]") {
    const auto session = post("go").session;
    const auto invocation = state(session).invocations.front().id;
    report(session, FinishInvocation{invocation, "succeeded", "", "done"});
    CHECK(refusal([&] { report(session, UpdatePlan{invocation, {}}); }) == Errc::conflict);
    CHECK(refusal([&] {
              report(session, InvokeSubagent{invocation, "x", "y"});
          }) == Errc::conflict);
}

TEST_CASE_METHOD(Fixture, "once the store is closed an operator is told at once", "[session]") {
    const auto session = post("go").session;
    loop.run(life->store->close());
    CHECK(refusal([&] { operate(session, Hold{}); }) == Errc::unavailable);
}
