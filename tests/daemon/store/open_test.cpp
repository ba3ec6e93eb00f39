// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/store/database.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <fstream>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

struct Refusal {
    Errc code;
    std::string message;
};

std::optional<Refusal> refusal(const std::string& path) {
    const ManualClock clock;
    try {
        const auto store = Store::open({path}, clock);
        return std::nullopt;
    } catch (const Error& error) {
        return Refusal{error.code(), error.message()};
    }
}

/// A database of ours with one session, closed.
void make_database(const std::string& path) {
    const ManualClock clock;
    asio::io_context loop;
    auto store = Store::open({path}, clock);
    await(loop, store->append(make_append(SessionId("ses_1"), 1, 100)));
    await(loop, store->close());
}

void overwrite(const std::string& path, std::streamoff at, std::size_t size) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file << std::string(size, '\xee');
}

unsigned mode_of(const std::string& path) {
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    return info.st_mode & 0777U;
}

/// Another user for as long as it lives, when the tests run as root.
class OrdinaryUser {
public:
    OrdinaryUser() : was_root_(::geteuid() == 0) {
        if (was_root_) REQUIRE(::seteuid(65534) == 0);
    }
    OrdinaryUser(const OrdinaryUser&) = delete;
    OrdinaryUser& operator=(const OrdinaryUser&) = delete;
    ~OrdinaryUser() {
        if (was_root_ && ::seteuid(0) != 0) std::abort();
    }

private:
    bool was_root_;
};

}  // namespace

TEST_CASE("a missing state folder is created for this user alone", "[store]") {
    const TempFolder folder;
    make_database(folder.file("state/volary.db"));
    CHECK(mode_of(folder.file("state")) == 0700);
    CHECK(mode_of(folder.file("state/volary.db")) == 0600);
    CHECK_FALSE(refusal(folder.file("state/volary.db")));
}

TEST_CASE("a second instance is refused and told who holds the folder", "[store]") {
    const TempFolder folder;
    const ManualClock clock;
    auto store = Store::open({folder.file("volary.db")}, clock);
    const auto refused = refusal(folder.file("volary.db"));
    REQUIRE(refused);
    CHECK(refused->code == Errc::busy);
    CHECK_THAT(refused->message, Catch::Contains("(pid " + std::to_string(::getpid()) + ")"));
    CHECK_THAT(refused->message, Catch::Contains("--state"));
    store.reset();
    CHECK_FALSE(refusal(folder.file("volary.db")));
}

TEST_CASE("a folder that cannot be written is refused by name", "[store]") {
    const TempFolder folder;
    REQUIRE(::chmod(folder.path().c_str(), 0555) == 0);
    std::optional<Refusal> refused;
    {
        const OrdinaryUser user;
        refused = refusal(folder.file("volary.db"));
    }
    REQUIRE(::chmod(folder.path().c_str(), 0700) == 0);
    REQUIRE(refused);
    CHECK(refused->code == Errc::unavailable);
    CHECK_THAT(refused->message, Catch::Contains("\"" + folder.path() + "\" cannot be written"));
    CHECK_THAT(refused->message, Catch::Contains("Permission denied"));
}

TEST_CASE("a path below a file is refused", "[store]") {
    const TempFolder folder;
    std::ofstream(folder.file("file")) << "x";
    const auto refused = refusal(folder.file("file/state/volary.db"));
    REQUIRE(refused);
    CHECK_THAT(refused->message, Catch::Contains("Not a directory"));
}

TEST_CASE("a database from a newer version is refused and left alone", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    make_database(path);
    Database(path, OpenMode::read_write).exec("PRAGMA user_version = 99");
    const auto refused = refusal(path);
    REQUIRE(refused);
    CHECK(refused->code == Errc::unavailable);
    CHECK_THAT(refused->message, Catch::Contains("is of version 99, this program knows up to 4"));
    CHECK(Database(path, OpenMode::read_only).integer("PRAGMA user_version") == 99);
    CHECK_FALSE(std::filesystem::exists(path + ".bak-99"));
}

TEST_CASE("tables that are not those of the version are refused and left alone", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    make_database(path);
    struct Case {
        int version;
        const char* change;
        const char* difference;
    };
    const auto [version, change, difference] = GENERATE(
        // An older version is looked at before it is migrated.
        Case{
            1, "ALTER TABLE event DROP COLUMN hash; ALTER TABLE session RENAME COLUMN no TO number",
            "its table \"session\" has no column \"no\" INTEGER PRIMARY KEY 1"
        },
        Case{4, "ALTER TABLE run DROP COLUMN outcome", "has no column \"outcome\" TEXT NOT NULL"},
        Case{4, "DROP TABLE connection", "it has no table \"connection\""},
        Case{4, "DROP INDEX event_by_seq", "its table \"event\" has no index \"event_by_seq\""},
        Case{
            4, "ALTER TABLE cage ADD COLUMN more TEXT NOT NULL DEFAULT ''",
            "its table \"cage\" has a column \"more\" TEXT NOT NULL of its own"
        }
    );
    const auto mark = "PRAGMA user_version = " + std::to_string(version);
    Database(path, OpenMode::read_write).exec(change);
    Database(path, OpenMode::read_write).exec(mark.c_str());

    const auto refused = refusal(path);
    REQUIRE(refused);
    CHECK(refused->code == Errc::unavailable);
    CHECK_THAT(
        refused->message, Catch::Contains(
                              "database \"" + path + "\" says that it is of version " +
                              std::to_string(version) + ", but "
                          )
    );
    CHECK_THAT(refused->message, Catch::Contains(difference));
    CHECK_THAT(refused->message, Catch::Contains("move the file away to start empty"));
    CHECK_FALSE(std::filesystem::exists(path + ".bak-1"));
    Database after(path, OpenMode::read_only);
    CHECK(after.integer("PRAGMA user_version") == version);
    CHECK(after.integer("SELECT count(*) FROM event") > 0);
}

TEST_CASE("a table and an index of somebody else's are no reason to refuse", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    make_database(path);
    Database(path, OpenMode::read_write)
        .exec("CREATE TABLE notes (n INTEGER); CREATE INDEX mine ON run(outcome); ANALYZE");
    CHECK_FALSE(refusal(path));
}

TEST_CASE("a file that is no database is refused and left alone", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    const auto size = GENERATE(std::size_t{5}, std::size_t{5000});
    std::ofstream(path) << std::string(size, 'x');
    const auto refused = refusal(path);
    REQUIRE(refused);
    CHECK(refused->code == Errc::unavailable);
    CHECK_THAT(refused->message, Catch::Contains("\"" + path + "\" is not an SQLite database"));
    CHECK(std::filesystem::file_size(path) == size);
}

TEST_CASE("a folder in the database's place is refused", "[store]") {
    const TempFolder folder;
    std::filesystem::create_directory(folder.file("volary.db"));
    const auto refused = refusal(folder.file("volary.db"));
    REQUIRE(refused);
    CHECK(refused->code == Errc::unavailable);
}

TEST_CASE("a database of another program is refused", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    std::ofstream(path).flush();
    Database(path, OpenMode::read_write).exec("CREATE TABLE theirs (n INTEGER)");
    const auto refused = refusal(path);
    REQUIRE(refused);
    CHECK_THAT(refused->message, Catch::Contains("belongs to another program"));
}

TEST_CASE("a database that was cut short is refused", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    make_database(path);
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 4096);
    const auto refused = refusal(path);
    REQUIRE(refused);
    CHECK_THAT(refused->message, Catch::Contains("is damaged (it was cut short)"));
}

TEST_CASE("a database whose schema or table roots are overwritten is refused", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    make_database(path);
    SECTION("schema") { overwrite(path, 100, 3996); }
    SECTION("tables") { overwrite(path, 4096, 4096 * 8); }
    const auto refused = refusal(path);
    REQUIRE(refused);
    CHECK(refused->code == Errc::unavailable);
    CHECK_THAT(refused->message, Catch::Contains("\"" + path + "\" cannot be opened"));
    CHECK_THAT(refused->message, Catch::Contains("volary backup restore FILE"));
    CHECK_THAT(refused->message, Catch::Contains("volary backup salvage"));
}
