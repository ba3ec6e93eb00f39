// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/backup.hpp"

#include "daemon/store/database.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <chrono>
#include <fstream>
#include <sys/stat.h>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

const SessionId kSession("ses_01JD0000000000000000000001");
constexpr UnixMillis kNow = 1'700'000'000'000;

class FixedClock final : public Clock {
public:
    UnixMillis now_ms() const override { return kNow; }
};

struct State {
    TempFolder folder;
    std::string database = folder.file("volary.db");
    FixedClock clock;
    asio::io_context loop;

    std::unique_ptr<Store> open() { return Store::open({database}, clock); }
    void close(std::unique_ptr<Store>& store) {
        await(loop, store->close());
        store.reset();
    }
    std::string file(const std::string& name) const { return folder.file(name); }
};

/// Overwrites the middle of a file, as a bad disk does.
void damage(const std::string& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3 * 4096);
    file << std::string(3 * 4096, 'x');
}

}  // namespace

TEST_CASE("a backup is whole while the store goes on writing", "[backup]") {
    State state;
    auto store = state.open();
    await(state.loop, store->append(make_append(kSession, 1, 50)));
    const auto made = await(state.loop, store->back_up(7));
    await(state.loop, store->append(make_append(kSession, 51, 50)));
    CHECK(made.name == "volary-20231114T221320Z.db");
    struct stat info{};
    REQUIRE(::stat(made.path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777U) == 0600U);
    CHECK(static_cast<std::uint64_t>(info.st_size) == made.bytes);
    const auto verdict = verify_database(made.path);
    CHECK(verdict.problems.empty());
    CHECK(verdict.sessions == 1);
    CHECK(verdict.events == 50);
    state.close(store);
    CHECK(verify_database(state.database).events == 100);
}

TEST_CASE("backups that are asked for at once follow each other", "[backup]") {
    State state;
    auto store = state.open();
    await(state.loop, store->append(make_append(kSession, 1, 500)));
    const auto folder = backups_beside(state.database);
    std::filesystem::create_directory(folder);
    const auto unfinished = folder + "/volary-20231114T221200Z.db.part";
    std::ofstream(unfinished) << "of a daemon that died";
    int made = 0;
    for (int i = 0; i < 4; ++i) {
        const auto ended = [&](const std::exception_ptr& failed, const BackupFile&) {
            if (!failed) ++made;
        };
        asio::co_spawn(state.loop, store->back_up(7), ended);
    }
    state.loop.restart();
    state.loop.run();
    CHECK(made == 4);
    // They are of one second, and have its name.
    const auto all = list_backups(folder);
    REQUIRE(all.size() == 1);
    CHECK(verify_database(all.front().path).events == 500);
    CHECK_FALSE(std::filesystem::exists(unfinished));
    state.close(store);
}

TEST_CASE("only the newest backups are kept", "[backup]") {
    State state;
    auto store = state.open();
    state.close(store);
    Database db(state.database, OpenMode::read_write);
    const auto folder = backups_beside(state.database);
    for (int day = 0; day < 5; ++day) (void)create_backup(db, folder, kNow + day * 86'400'000LL);
    std::ofstream(folder + "/notes.txt") << "mine";
    CHECK(keep_backups(folder, 2) == 3);
    const auto left = list_backups(folder);
    REQUIRE(left.size() == 2);
    CHECK(left[0].at == kNow + 4 * 86'400'000LL);
    CHECK(left[1].at == kNow + 3 * 86'400'000LL);
    CHECK(std::filesystem::exists(folder + "/notes.txt"));
}

TEST_CASE(
    "a restored database is the backup under a new epoch; the other one is kept", "[backup]"
) {
    State state;
    auto store = state.open();
    await(state.loop, store->append(make_append(kSession, 1, 5)));
    const auto made = await(state.loop, store->back_up(7));
    await(state.loop, store->append(make_append(kSession, 6, 5)));
    const auto epoch = store->epoch();

    CHECK_THROWS_WITH(
        restore_backup(made.path, state.database, kNow), Catch::Contains("in use by another volary")
    );
    state.close(store);
    const auto restored = restore_backup(made.path, state.database, kNow);
    CHECK(restored.kept == state.database + ".replaced-20231114T221320Z");
    CHECK(verify_database(restored.kept).events == 10);

    store = state.open();
    CHECK(store->epoch() != epoch);
    CHECK(await(state.loop, store->events(kSession, 0, 100)).size() == 5);
    await(state.loop, store->append(make_append(kSession, 6)));
    CHECK(await(state.loop, store->verify(kSession)).problem.empty());
    state.close(store);
}

TEST_CASE("a backup that is damaged, changed or foreign is not restored", "[backup]") {
    State state;
    auto store = state.open();
    await(state.loop, store->append(make_append(kSession, 1, 500)));
    const auto made = await(state.loop, store->back_up(7));
    state.close(store);

    const auto bad = state.file("bad.db");
    SECTION("damaged") {
        std::filesystem::copy(made.path, bad);
        damage(bad);
        CHECK_THROWS_AS(restore_backup(bad, state.database, kNow), Error);
    }
    SECTION("changed") {
        std::filesystem::copy(made.path, bad);
        Database(bad, OpenMode::read_write).exec("UPDATE event SET body = '{}' WHERE seq = 7");
        try {
            (void)restore_backup(bad, state.database, kNow);
            FAIL("restored");
        } catch (const Error& error) {
            CHECK(error.code() == Errc::invalid);
            REQUIRE(error.details().size() == 1);
            CHECK_THAT(error.details()[0], Catch::Contains("event 7"));
        }
    }
    SECTION("not a database") {
        std::ofstream(bad) << "hello";
        CHECK_THROWS_WITH(
            restore_backup(bad, state.database, kNow), Catch::Contains("is not an SQLite database")
        );
    }
    SECTION("another program's") {
        std::ofstream{bad};
        Database(bad, OpenMode::read_write).exec("CREATE TABLE t (x)");
        CHECK_THROWS_WITH(
            restore_backup(bad, state.database, kNow), Catch::Contains("no database of volary")
        );
    }
    SECTION("missing") {
        CHECK_THROWS_WITH(
            restore_backup(bad, state.database, kNow), Catch::Contains("No such file")
        );
    }
    // Whatever it was: what was there is there.
    CHECK(verify_database(state.database).events == 500);
}

TEST_CASE("a damaged database is found when its pages are read", "[backup]") {
    State state;
    auto store = state.open();
    await(state.loop, store->append(make_append(kSession, 1, 500)));
    CHECK(await(state.loop, store->check_pages()).empty());
    state.close(store);
    damage(state.database);
    CHECK_FALSE(verify_database(state.database).problems.empty());
    // It may be restored over all the same.
    const auto healthy = state.file("healthy");
    CHECK_THROWS_AS(verify_database(healthy), Error);
}

TEST_CASE("a database of an older version gets its hashes", "[backup]") {
    State state;
    auto store = state.open();
    await(state.loop, store->append(make_append(kSession, 1, 5)));
    await(
        state.loop, store->append(make_append(SessionId("ses_01JD0000000000000000000002"), 1, 5))
    );
    state.close(store);
    Database(state.database, OpenMode::read_write)
        .exec("DROP TABLE cage_stream; ALTER TABLE event DROP COLUMN hash; PRAGMA user_version = 2"
        );
    CHECK(verify_database(state.database).problems.empty());
    store = state.open();
    CHECK(await(state.loop, store->verify(kSession)).problem.empty());
    await(state.loop, store->append(make_append(kSession, 6)));
    CHECK(await(state.loop, store->verify(kSession)).events == 6);
    state.close(store);
}

TEST_CASE("a check of a large database ends when it is asked to, and says nothing", "[backup]") {
    State state;
    auto store = state.open();
    state.close(store);
    {
        Database db(state.database, OpenMode::read_write);
        // 64 MiB, most of it in chains of overflow pages.
        db.exec(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64)"
            " INSERT INTO idempotency SELECT 's', i, 'h', 202, 0, printf('%.*c', 1048576, 'x')"
            " FROM n"
        );
    }
    using Time = std::chrono::steady_clock;
    store = state.open();
    CHECK(await(state.loop, store->check_pages()).empty());
    const auto checked_at = store->health().checked_at;
    const auto before = Time::now();
    CHECK(await(state.loop, store->check_pages()).empty());
    const auto whole = Time::now() - before;

    // At once, and in its midst.
    for (const auto part : {64, 8}) {
        std::exception_ptr ended;
        std::exception_ptr refused;
        const auto check = [&](std::exception_ptr& failed) {
            const auto keep = [&](const std::exception_ptr& error, const auto&) { failed = error; };
            asio::co_spawn(state.loop, store->check_pages(), keep);
        };
        check(ended);
        state.loop.restart();
        state.loop.run_for(whole / part);
        check(refused);
        state.loop.restart();
        state.loop.poll();
        REQUIRE(refused);
        CHECK_THROWS_WITH(
            std::rethrow_exception(refused), Catch::Contains("being checked already")
        );
        store->end_check();
        state.loop.restart();
        state.loop.run_for(std::chrono::seconds(30));
        REQUIRE(ended);
        CHECK_THROWS_WITH(
            std::rethrow_exception(ended),
            Catch::Contains("ended") || Catch::Contains("interrupted")
        );
    }
    CHECK(store->health().checked_at == checked_at);
    CHECK(store->health().problems.empty());
    // Nothing of it stays: the next one reads everything.
    CHECK(await(state.loop, store->check_pages()).empty());
    state.close(store);
}
