// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/chain.hpp"

#include "daemon/store/database.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

const SessionId kSession("ses_01JD0000000000000000000001");

struct Opened {
    Opened() : store(Store::open({folder.file("volary.db")}, clock)) {}
    ~Opened() { close(); }

    void close() {
        if (store) await(loop, store->close());
        store.reset();
    }

    TempFolder folder;
    asio::io_context loop;
    SystemClock clock;
    std::unique_ptr<Store> store;
};

/// Changes the stored log behind the daemon's back.
void tamper(Opened& opened, const char* sql) {
    opened.close();
    Database(opened.folder.file("volary.db"), OpenMode::read_write).exec(sql);
    opened.store = Store::open({opened.folder.file("volary.db")}, opened.clock);
}

}  // namespace

TEST_CASE("the hash of an event is the one that the documentation describes", "[chain]") {
    Event event = make_event(kSession, 1);
    event.at = 5;
    // printf '%s' the 32 zero bytes and the netstrings below | sha256sum
    CHECK(
        hex_of(hash_after(kNoEvents, view_of(event))) ==
        "0bfed33aec5875d7e5757e9bcd3bdfd8788aacf61f286f267f9d91999e89c0e7"
    );
}

TEST_CASE("a log that nobody changed verifies, over many appends", "[chain]") {
    Opened opened;
    await(opened.loop, opened.store->append(make_append(kSession, 1, 3)));
    await(opened.loop, opened.store->append(make_append(kSession, 4)));
    await(opened.loop, opened.store->append(make_append(kSession, 5, 20)));
    const auto verdict = await(opened.loop, opened.store->verify(kSession));
    CHECK(verdict.problem.empty());
    CHECK(verdict.events == 24);
    CHECK(verdict.head.size() == 64);
}

TEST_CASE("each way to change a stored log is found, and said where", "[chain]") {
    Opened opened;
    await(opened.loop, opened.store->append(make_append(kSession, 1, 10)));
    const auto [sql, words] = GENERATE(table<const char*, const char*>({
        {"UPDATE event SET body = '{\"n\":77}' WHERE seq = 4", "event 4 (message.user) is not"},
        {"UPDATE event SET actor = 'operator:other' WHERE seq = 10", "event 10 (message.user)"},
        {"UPDATE event SET at = at + 1 WHERE seq = 1", "event 1 (message.user) is not"},
        {"DELETE FROM event WHERE seq = 5", "event 5 is missing: 6 follows 4"},
        {"DELETE FROM event WHERE seq > 7", "ends at event 7, but 10 were written"},
        {"UPDATE event SET hash = NULL WHERE seq = 3", "event 3 (message.user) is not"},
        {"UPDATE event SET seq = seq + 100 WHERE seq = 2;"
         "UPDATE event SET seq = 2 WHERE seq = 3; UPDATE event SET seq = 3 WHERE seq = 102",
         "event 2 (message.user) is not"},
    }));
    tamper(opened, sql);
    const auto verdict = await(opened.loop, opened.store->verify(kSession));
    CHECK_THAT(verdict.problem, Catch::Contains(words));
}

TEST_CASE("an append to a log without its last hash is refused", "[chain]") {
    Opened opened;
    await(opened.loop, opened.store->append(make_append(kSession, 1, 2)));
    tamper(opened, "UPDATE event SET hash = NULL WHERE seq = 2");
    CHECK_THROWS_WITH(
        await(opened.loop, opened.store->append(make_append(kSession, 3))),
        Catch::Contains("event 2 has no hash")
    );
}

TEST_CASE("an export has every event with its hash, page by page", "[chain]") {
    Opened opened;
    await(opened.loop, opened.store->append(make_append(kSession, 1, 5)));
    const auto first = await(opened.loop, opened.store->export_lines(kSession, 0, 3));
    const auto rest = await(opened.loop, opened.store->export_lines(kSession, 3, 100));
    CHECK(std::count(first.begin(), first.end(), '\n') == 3);
    CHECK(std::count(rest.begin(), rest.end(), '\n') == 2);
    const auto verdict = await(opened.loop, opened.store->verify(kSession));
    CHECK_THAT(rest, Catch::EndsWith("\"hash\":\"" + verdict.head + "\"}\n"));
}
