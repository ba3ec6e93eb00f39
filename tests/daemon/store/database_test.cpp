// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/database.hpp"

#include "base/error.hpp"
#include "daemon/store/migrations.hpp"
#include "daemon/store/worker.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <fstream>
#include <functional>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

Errc code_of(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const Error& caught) {
        return caught.code();
    }
}

/// Records how it ended.
class FakeTask final : public Task {
public:
    struct Outcome {
        std::string name;
        std::exception_ptr error;
    };
    using Work = std::function<void(Database&)>;

    FakeTask(std::string name, Work work, std::vector<Outcome>& ended)
        : name_(std::move(name)), work_(std::move(work)), ended_(ended) {}
    void run(Database& db) override { work_(db); }
    void finish(std::exception_ptr error) override { ended_.push_back({name_, error}); }

private:
    std::string name_;
    Work work_;
    std::vector<Outcome>& ended_;
};

FakeTask::Work insert(std::int64_t value) {
    return [value](Database& db) { db.prepare("INSERT INTO t VALUES (?1)").bind(value).exec(); };
}

void touch(const std::string& path) { std::ofstream(path).flush(); }

}  // namespace

TEST_CASE("a bound value comes back unchanged", "[store]") {
    Database db(":memory:", OpenMode::read_write);
    db.exec("CREATE TABLE t (s TEXT)");
    const auto value =
        GENERATE(as<std::string>{}, "", "plain", std::string("with\0nul", 8), "ünïcödé");

    db.prepare("INSERT INTO t VALUES (?1)").bind(value).exec();

    auto stmt = db.prepare("SELECT s FROM t");
    REQUIRE(stmt.step());
    CHECK(stmt.text(0) == value);
    CHECK_FALSE(stmt.is_null(0));
}

TEST_CASE("a failure names the SQL that failed", "[store]") {
    Database db(":memory:", OpenMode::read_write);
    CHECK_THROWS_WITH(
        db.prepare("SELEC 1"), Catch::Contains("SELEC 1") && Catch::Contains("syntax error")
    );
}

TEST_CASE("a cached statement starts afresh, also while it is in use", "[store]") {
    Database db(":memory:", OpenMode::read_write);
    db.exec("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2)");
    auto outer = db.prepare("SELECT n FROM t WHERE n >= ?1 ORDER BY n");
    outer.bind(1);
    REQUIRE(outer.step());
    {
        auto inner = db.prepare("SELECT n FROM t WHERE n >= ?1 ORDER BY n");
        inner.bind(2);
        REQUIRE(inner.step());
        CHECK(inner.integer(0) == 2);
    }
    CHECK(outer.integer(0) == 1);
    REQUIRE(outer.step());
    CHECK(outer.integer(0) == 2);
}

TEST_CASE("a transaction that is not committed is undone", "[store]") {
    Database db(":memory:", OpenMode::read_write);
    db.exec("CREATE TABLE t (n INTEGER)");
    {
        Transaction transaction(db);
        insert(1)(db);
    }
    CHECK(db.integer("SELECT count(*) FROM t") == 0);
    CHECK_FALSE(db.in_transaction());
}

TEST_CASE("a request that fails in the middle of a group harms no other", "[store]") {
    Database db(":memory:", OpenMode::read_write);
    db.exec("CREATE TABLE t (n INTEGER PRIMARY KEY)");
    std::vector<FakeTask::Outcome> ended;
    auto half = [](Database& on) {
        insert(3)(on);
        insert(1)(on);
    };
    std::vector<std::unique_ptr<Task>> group;
    group.push_back(std::make_unique<FakeTask>("one", insert(1), ended));
    group.push_back(std::make_unique<FakeTask>("half", half, ended));
    group.push_back(std::make_unique<FakeTask>("two", insert(2), ended));

    commit_group(db, group);

    REQUIRE(ended.size() == 3);
    CHECK(ended[0].name == "one");
    CHECK_FALSE(ended[0].error);
    CHECK(ended[1].name == "half");
    CHECK(code_of(ended[1].error) == Errc::conflict);
    CHECK(ended[2].name == "two");
    CHECK_FALSE(ended[2].error);
    CHECK(db.integer("SELECT group_concat(n, '') FROM t") == 12);
}

TEST_CASE("a full disk fails the whole group and leaves nothing", "[store]") {
    const TempFolder folder;
    touch(folder.file("db"));
    Database db(folder.file("db"), OpenMode::read_write);
    db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, s TEXT)");
    db.exec("PRAGMA max_page_count = 8");
    std::vector<FakeTask::Outcome> ended;
    auto large = [](Database& on) {
        on.prepare("INSERT INTO t VALUES (3, ?1)").bind(std::string(100'000, 'x')).exec();
    };
    auto small = [](Database& on) { on.exec("INSERT INTO t VALUES (1, '')"); };
    std::vector<std::unique_ptr<Task>> group;
    group.push_back(std::make_unique<FakeTask>("small", small, ended));
    group.push_back(std::make_unique<FakeTask>("large", large, ended));
    group.push_back(std::make_unique<FakeTask>("again", small, ended));

    commit_group(db, group);

    REQUIRE(ended.size() == 3);
    for (const auto& outcome : ended) {
        INFO(outcome.name);
        REQUIRE(outcome.error);
        CHECK(code_of(outcome.error) == Errc::unavailable);
        CHECK_THAT(describe(outcome.error), Catch::Contains("full"));
    }
    CHECK(db.integer("SELECT count(*) FROM t") == 0);

    ended.clear();
    group.push_back(std::make_unique<FakeTask>("small", small, ended));
    commit_group(db, group);
    REQUIRE(ended.size() == 1);
    CHECK_FALSE(ended[0].error);
}

TEST_CASE("an older database is copied, then migrated", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("db");
    touch(path);
    const Migration steps[] = {
        {1, "CREATE TABLE a (n INTEGER); INSERT INTO a VALUES (7)"},
        {2, "ALTER TABLE a ADD COLUMN m INTEGER NOT NULL DEFAULT 8"},
        {3, "CREATE TABLE b (n INTEGER)"},
    };
    {
        Database db(path, OpenMode::read_write);
        db.exec("PRAGMA journal_mode = WAL");
        migrate(db, std::span(steps).first(1));
        CHECK_FALSE(std::filesystem::exists(path + ".bak-0"));
        CHECK(db.integer("PRAGMA user_version") == 1);
    }
    Database db(path, OpenMode::read_write);
    migrate(db, steps);
    CHECK(db.integer("PRAGMA user_version") == 3);
    CHECK(db.integer("SELECT n + m FROM a") == 15);

    Database old(path + ".bak-1", OpenMode::read_write);
    CHECK(old.integer("PRAGMA user_version") == 1);
    CHECK(old.integer("SELECT n FROM a") == 7);
}

TEST_CASE("a database of version 0 that holds something is copied and gets the schema", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("db");
    touch(path);
    Database db(path, OpenMode::read_write);
    db.exec("CREATE TABLE before_versions (n INTEGER); INSERT INTO before_versions VALUES (5)");

    migrate(db, migrations());

    CHECK(db.integer("PRAGMA user_version") == migrations().back().version);
    CHECK(db.integer("SELECT count(*) FROM session") == 0);
    CHECK(db.integer("SELECT n FROM before_versions") == 5);
    Database old(path + ".bak-0", OpenMode::read_only);
    CHECK(old.integer("SELECT n FROM before_versions") == 5);
}

TEST_CASE("a migration that fails names itself and leaves the version before it", "[store]") {
    Database db(":memory:", OpenMode::read_write);
    const Migration steps[] = {
        {1, "CREATE TABLE a (n INTEGER)"},
        {2, "CREATE TABLE b (n INTEGER); CREATE TABLE a (n INTEGER)"},
    };
    CHECK_THROWS_WITH(migrate(db, steps), Catch::Contains("to version 2"));
    CHECK(db.integer("PRAGMA user_version") == 1);
    CHECK(db.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'b'") == 0);
}
