// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/store.hpp"

#include "base/error.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <csignal>
#include <sys/resource.h>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

struct Fixture {
    TempFolder folder;
    ManualClock clock;
    asio::io_context loop;
    std::string path = folder.file("volary.db");
    std::unique_ptr<Store> store = Store::open({path}, clock);
    SessionId session = SessionId::make(clock);

    template <class T>
    T run(asio::awaitable<T> task) {
        return await(loop, std::move(task));
    }
    void append(std::int64_t first, std::int64_t count = 1) {
        run(store->append(make_append(session, first, count)));
    }
    void reopen() {
        run(store->close());
        store = Store::open({path}, clock);
    }
    /// The code with which an append fails; none when it does not.
    std::optional<Errc> refused(Append append) {
        try {
            run(store->append(std::move(append)));
            return std::nullopt;
        } catch (const Error& error) {
            return error.code();
        }
    }
};

/// Appends events one by one, each after the commit of the one before.
asio::awaitable<void> write_session(
    Store* store, SessionId session, std::int64_t count, std::vector<std::int64_t>* order
) {
    for (std::int64_t seq = 1; seq <= count; ++seq) {
        auto append = make_append(session, seq);
        co_await store->append(std::move(append));
        order->push_back(seq);
    }
}

/// Appends the same (session, 2) as everybody else; counts who won and who lost.
asio::awaitable<void> race(Store* store, SessionId session, int* won, int* lost) {
    auto append = make_append(session, 2);
    try {
        co_await store->append(std::move(append));
        ++*won;
    } catch (const Error& error) {
        if (error.code() == Errc::conflict) ++*lost;
    }
}

void run_all(asio::io_context& loop) {
    loop.restart();
    loop.run_for(std::chrono::minutes(1));
}

void rethrow(const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
}

}  // namespace

TEST_CASE("what was appended is there after a reopen, byte for byte", "[store]") {
    Fixture f;
    auto append = make_append(f.session, 1, 3);
    append.events[1].run = RunId("run_1");
    append.events[1].body = R"({"text":"ünï\n\"x\""})";
    append.session_row->state = R"({"plan":[]})";
    f.run(f.store->append(append));
    const auto epoch = f.store->epoch();
    f.reopen();

    CHECK(f.store->epoch() == epoch);
    CHECK(epoch.size() == 32);
    CHECK(f.run(f.store->events(f.session, 0, 10)) == append.events);
    const auto row = f.run(f.store->find_session(f.session));
    REQUIRE(row);
    CHECK(row->last_seq == 3);
    CHECK(row->state == R"({"plan":[]})");
    CHECK_FALSE(f.run(f.store->find_session(SessionId("ses_other"))));
}

TEST_CASE("events that do not follow the log are a conflict and leave it alone", "[store]") {
    Fixture f;
    f.append(1, 2);
    CHECK(f.refused(make_append(f.session, 2)) == Errc::conflict);
    CHECK(f.refused(make_append(f.session, 4)) == Errc::conflict);
    auto gap = make_append(f.session, 3, 2);
    gap.events[1].seq = 5;
    CHECK(f.refused(gap) == Errc::conflict);
    CHECK(f.refused(make_append(SessionId("ses_new"), 2)) == Errc::not_found);
    auto foreign = make_append(f.session, 3);
    foreign.events[0].session = SessionId("ses_other");
    CHECK(f.refused(foreign) == Errc::invalid);
    auto no_object = make_append(f.session, 3);
    no_object.events[0].body = "null";
    CHECK(f.refused(no_object) == Errc::invalid);
    CHECK(f.run(f.store->find_session(f.session))->last_seq == 2);
    CHECK_FALSE(f.refused(make_append(f.session, 3)));
}

TEST_CASE("pages are the rows as the API sends them", "[store]") {
    Fixture f;
    f.append(1, 5);
    const auto events = f.run(f.store->events(f.session, 0, 10));
    const auto json = [&](std::size_t from, std::size_t to) {
        std::string text = "[";
        for (auto i = from; i < to; ++i) text += (i > from ? "," : "") + event_json(events[i]);
        return text + "]";
    };
    CHECK(f.run(f.store->events_page_json(f.session, 0, 2)) == json(0, 2));
    CHECK(f.run(f.store->events_page_json(f.session, 3, 200)) == json(3, 5));
    CHECK(f.run(f.store->events_page_json(f.session, 5, 200)) == "[]");
    CHECK(f.run(f.store->events_page_json(f.session, 0, -1)) == "[]");
    CHECK(f.run(f.store->events_page_json(SessionId("ses_other"), 0, 200)) == "[]");
    CHECK(f.run(f.store->events_page_json_before(f.session, 4, 2)) == json(1, 3));
    CHECK(f.run(f.store->events_page_json_before(f.session, 100, 2)) == json(3, 5));
    CHECK(f.run(f.store->events_page_json_before(f.session, 1, 2)) == "[]");
}

TEST_CASE("a page of large events ends early, at the side away from where it began", "[store]") {
    Fixture f;
    auto append = make_append(f.session, 1, 4);
    for (auto& event : append.events)
        event.body = R"({"text":")" + std::string(std::size_t{5} << 20U, 'x') + R"("})";
    f.run(f.store->append(std::move(append)));

    const auto after = f.run(f.store->events_page_json(f.session, 0, 4));
    CHECK(after.find(R"("seq":2,)") != std::string::npos);
    CHECK(after.find(R"("seq":3,)") == std::string::npos);
    const auto before = f.run(f.store->events_page_json_before(f.session, 5, 4));
    CHECK(before.find(R"("seq":2,)") == std::string::npos);
    CHECK(before.find(R"("seq":3,)") < before.find(R"("seq":4,)"));
}

TEST_CASE("a firing and an idempotency key exist once, and a repeat undoes its events", "[store]") {
    Fixture f;
    auto first = make_append(f.session, 1);
    first.firings.push_back({f.session, 1, "0", InvocationId("inv_1")});
    IdempotencyRow key;
    key.key = "k";
    key.scope = "operator:test POST /x";
    key.request_hash = "h";
    key.status = 202;
    key.response = R"({"seq":1})";
    key.at = f.clock.now_ms();
    first.idempotency = key;
    f.run(f.store->append(first));

    auto again = make_append(f.session, 2);
    again.firings = first.firings;
    CHECK(f.refused(again) == Errc::conflict);
    again = make_append(f.session, 2);
    again.idempotency = key;
    CHECK(f.refused(again) == Errc::conflict);

    CHECK(f.run(f.store->find_session(f.session))->last_seq == 1);
    CHECK(f.run(f.store->firings(f.session)) == first.firings);
    CHECK(f.run(f.store->find_idempotent(key.scope, "k")) == key);
    CHECK_FALSE(f.run(f.store->find_idempotent("operator:other POST /x", "k")));
}

TEST_CASE("a thousand writers at once: all kept, each session in order", "[store]") {
    Fixture f;
    constexpr int kWriters = 1000;
    constexpr std::int64_t kEach = 3;
    std::vector<std::vector<std::int64_t>> orders(kWriters);
    std::vector<SessionId> sessions;
    for (int i = 0; i < kWriters; ++i) sessions.push_back(SessionId::make(f.clock));
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        auto task = write_session(f.store.get(), sessions[i], kEach, &orders[i]);
        asio::co_spawn(f.loop, std::move(task), rethrow);
    }
    run_all(f.loop);
    for (const auto& order : orders) CHECK(order == std::vector<std::int64_t>{1, 2, 3});
    const auto counts = f.run(f.store->counts());
    CHECK(counts.sessions == kWriters);
    CHECK(counts.events == kWriters * kEach);
}

TEST_CASE("of many who append the same position one wins and the others conflict", "[store]") {
    Fixture f;
    f.append(1);
    int won = 0;
    int lost = 0;
    for (int i = 0; i < 100; ++i)
        asio::co_spawn(f.loop, race(f.store.get(), f.session, &won, &lost), rethrow);
    run_all(f.loop);
    CHECK(won == 1);
    CHECK(lost == 99);
    CHECK(f.run(f.store->events(f.session, 0, 10)).size() == 2);
}

TEST_CASE("waiters of one group resume in the order of their calls", "[store]") {
    Fixture f;
    f.append(1);
    std::vector<int> order;
    for (int i = 0; i < 50; ++i) {
        auto done = [&order, i](const std::exception_ptr& error) {
            rethrow(error);
            order.push_back(i);
        };
        asio::co_spawn(f.loop, f.store->append(make_append(f.session, 2 + i)), done);
    }
    run_all(f.loop);
    REQUIRE(order.size() == 50);
    CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("a checkpoint is replaced, and goes when its item has finished", "[store]") {
    Fixture f;
    f.append(1);
    const ItemId one("item_1");
    const ItemId two("item_2");
    f.run(f.store->checkpoint({{f.session, one, "a"}, {f.session, two, "b"}}));
    f.run(f.store->checkpoint({{f.session, one, "aa"}}));
    const std::vector<CheckpointRow> both{{f.session, one, "aa"}, {f.session, two, "b"}};
    CHECK(f.run(f.store->checkpoints(f.session)) == both);

    auto append = make_append(f.session, 2);
    append.finished_items = {one};
    f.run(f.store->append(append));
    const std::vector<CheckpointRow> rest{{f.session, two, "b"}};
    CHECK(f.run(f.store->checkpoints(f.session)) == rest);
}

TEST_CASE("sessions are listed by project, newest activity first, with their total", "[store]") {
    Fixture f;
    for (int i = 0; i < 5; ++i) {
        const SessionId id(fmt::format("ses_{}", i));
        auto append = make_append(id, 1);
        append.session_row->project = i % 2 == 0 ? "even" : "odd";
        append.session_row->updated_at += i;
        append.session_row->status = i == 3 ? "working" : "idle";
        append.session_row->state = "{\"large\":true}";
        f.run(f.store->append(append));
    }
    const auto ids = [](const SessionPage& page) {
        std::string text;
        for (const auto& row : page.sessions) text += row.id.str().substr(4);
        return text;
    };
    const auto all = f.run(f.store->sessions({}));
    CHECK(ids(all) == "43210");
    CHECK(all.total == 5);
    CHECK(all.sessions[0].state.empty());
    const auto page = f.run(f.store->sessions({"even", 2, 1}));
    CHECK(ids(page) == "20");
    CHECK(page.total == 3);
    CHECK(ids(f.run(f.store->sessions({"none", 50, 0}))).empty());

    const auto unfinished = f.run(f.store->unfinished_sessions());
    REQUIRE(unfinished.size() == 1);
    CHECK(unfinished[0].id.str() == "ses_3");
    CHECK(unfinished[0].state == "{\"large\":true}");
    CHECK(f.run(f.store->counts()).unfinished_sessions == 1);
}

TEST_CASE("runs are kept with the append that changes them", "[store]") {
    Fixture f;
    auto append = make_append(f.session, 1);
    RunRow run{RunId("run_1"), f.session, "working", "", 10, 10};
    append.runs = {run};
    f.run(f.store->append(append));
    CHECK(f.run(f.store->find_run(run.id)) == run);
    append = make_append(f.session, 2);
    run.status = "finished";
    run.outcome = "succeeded";
    run.updated_at = 20;
    append.runs = {run};
    f.run(f.store->append(append));
    CHECK(f.run(f.store->runs(f.session)) == std::vector<RunRow>{run});
}

TEST_CASE("a session keeps its newest connections, and a cage is known after it ended", "[store]") {
    Fixture f;
    const CageId cage("cage_1");
    auto append = make_append(f.session, 1);
    append.cages = {{cage, f.session, 1}};
    f.run(f.store->append(append));
    const auto other = SessionId::make(f.clock);
    f.run(f.store->append(make_append(other, 1)));

    std::vector<ConnectionRow> rows;
    for (std::int64_t i = 0; i < kMaxConnections + 50; ++i)
        rows.push_back({f.session, cage, i, "shop.example", 443, 10, 20, 5, "allowed"});
    rows.push_back({other, CageId("cage_2"), 1, "other.example", 80, 1, 2, 3, "sni"});
    rows.push_back({SessionId("ses_gone"), CageId("cage_3"), 1, "x.example", 80, 1, 2, 3, "idle"});
    f.run(f.store->add_connections(rows));
    f.reopen();

    const auto kept = f.run(f.store->connections(f.session, cage, kMaxConnections * 2));
    REQUIRE(kept.size() == static_cast<std::size_t>(kMaxConnections));
    CHECK(kept.front() == rows[static_cast<std::size_t>(kMaxConnections + 49)]);
    CHECK(kept.back().at == 50);
    CHECK(f.run(f.store->connections(f.session, CageId(), 3)).size() == 3);
    CHECK(f.run(f.store->connections(other, CageId(), 3)).size() == 1);
    CHECK(f.run(f.store->connections(f.session, CageId("cage_3"), 3)).empty());
    CHECK(f.run(f.store->find_cage(cage)) == CageRow{cage, f.session, 1});
    CHECK_FALSE(f.run(f.store->find_cage(CageId("cage_9"))));
}

TEST_CASE("projects are put, listed, found and removed", "[store]") {
    Fixture f;
    f.run(f.store->put_project({"b", "/srv/b", 1}));
    f.run(f.store->put_project({"a", "/srv/a", 2}));
    f.run(f.store->put_project({"b", "/srv/moved", 3}));
    const std::vector<ProjectRow> both{{"a", "/srv/a", 2}, {"b", "/srv/moved", 1}};
    CHECK(f.run(f.store->projects()) == both);
    CHECK(f.run(f.store->find_project("a")) == both[0]);
    CHECK(f.run(f.store->remove_project("a")));
    CHECK_FALSE(f.run(f.store->remove_project("a")));
    CHECK_FALSE(f.run(f.store->find_project("a")));
}

TEST_CASE("a launch code works once and not after its time", "[store]") {
    Fixture f;
    const auto now = f.clock.now_ms();
    f.run(f.store->insert_launch_code({"one", now, now + 1000}));
    f.run(f.store->insert_launch_code({"late", now, now + 1000}));
    CHECK(f.run(f.store->consume_launch_code("one")));
    CHECK_FALSE(f.run(f.store->consume_launch_code("one")));
    CHECK_FALSE(f.run(f.store->consume_launch_code("never")));
    f.clock.advance(std::chrono::seconds(1));
    CHECK_FALSE(f.run(f.store->consume_launch_code("late")));
    CHECK(f.run(f.store->prune()) == 1);
}

TEST_CASE("a device is found by its token, touched and revoked", "[store]") {
    Fixture f;
    DeviceRow row{DeviceId("dev_1"), "hash", "phone", 10, 10, 1'900'000'000'000, false};
    f.run(f.store->insert_device(row));
    CHECK(f.run(f.store->find_device("hash")) == row);
    CHECK_FALSE(f.run(f.store->find_device("other")));
    f.run(f.store->touch_device(row.id, 30));
    f.run(f.store->touch_device(row.id, 20));
    CHECK(f.run(f.store->revoke_device(row.id)));
    CHECK_FALSE(f.run(f.store->revoke_device(DeviceId("dev_2"))));
    row.last_seen = 30;
    row.revoked = true;
    CHECK(f.run(f.store->devices()) == std::vector<DeviceRow>{row});
}

TEST_CASE("a disk that takes no more is told, and work goes on when it does again", "[store]") {
    Fixture f;
    f.append(1);
    // The kernel then fails every write beyond the first page of a file with EFBIG.
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit small = before;
    small.rlim_cur = 4096;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    const auto refused = f.refused(make_append(f.session, 2, 50));
    const auto events = f.run(f.store->events(f.session, 0, 100));
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    (void)std::signal(SIGXFSZ, handler);

    CHECK(refused == Errc::unavailable);
    CHECK(events.size() == 1);
    f.append(2, 50);
    f.reopen();
    CHECK(f.run(f.store->events(f.session, 0, 100)).size() == 51);
}

TEST_CASE("idempotency rows go after seven days", "[store]") {
    Fixture f;
    auto append = make_append(f.session, 1);
    append.idempotency = IdempotencyRow{"k", "s", "h", 202, "{}", f.clock.now_ms()};
    f.run(f.store->append(append));
    f.clock.advance(std::chrono::hours(7 * 24));
    CHECK(f.run(f.store->prune()) == 0);
    f.clock.advance(std::chrono::milliseconds(1));
    CHECK(f.run(f.store->prune()) == 1);
    CHECK_FALSE(f.run(f.store->find_idempotent("s", "k")));
}

TEST_CASE("close answers what waits and refuses what comes after", "[store]") {
    Fixture f;
    f.append(1);
    int committed = 0;
    for (int i = 0; i < 20; ++i) {
        auto done = [&committed](const std::exception_ptr& error) {
            if (!error) ++committed;
        };
        asio::co_spawn(f.loop, f.store->append(make_append(f.session, 2 + i)), done);
    }
    f.run(f.store->close());
    run_all(f.loop);
    CHECK(committed == 20);
    CHECK(f.refused(make_append(f.session, 22)) == Errc::unavailable);
    f.run(f.store->close());
    CHECK_FALSE(std::filesystem::exists(f.path + "-wal"));

    f.store = Store::open({f.path}, f.clock);
    CHECK(f.run(f.store->find_session(f.session))->last_seq == 21);
}

TEST_CASE("how far a cage's streams took effect is kept with what followed from them", "[store]") {
    Fixture f;
    const CageId cage("cage_1");
    auto append = make_append(f.session, 1);
    append.session_row = make_session(f.session, "working");
    append.cages = {{cage, f.session, 1}};
    append.streams = {{cage, 0, 100}, {cage, 2, 7}};
    f.run(f.store->append(append));
    auto later = make_append(f.session, 2);
    later.session_row = make_session(f.session, "working");
    later.streams = {{cage, 0, 90}, {cage, 2, 8}};
    f.run(f.store->append(later));
    const std::vector<StreamRow> places{{cage, 0, 100}, {cage, 2, 8}};
    CHECK(f.run(f.store->streams(cage)) == places);
    // One that fails takes its places with it.
    auto wrong = make_append(f.session, 9);
    wrong.streams = {{cage, 0, 500}};
    CHECK(f.refused(wrong) == Errc::conflict);
    CHECK(f.run(f.store->streams(cage)) == places);
    CHECK(f.run(f.store->streams(CageId("cage_2"))).empty());

    (void)f.run(f.store->prune());
    CHECK(f.run(f.store->streams(cage)) == places);
    auto last = make_append(f.session, 3);
    last.session_row = make_session(f.session, "idle");
    f.run(f.store->append(last));
    (void)f.run(f.store->prune());
    CHECK(f.run(f.store->streams(cage)).empty());
}
