// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/wal.hpp"

#include "daemon/store/database.hpp"
#include "daemon/store/page.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

constexpr std::size_t kHead = 32;
constexpr std::size_t kFrame = 24 + kPageSize;

/// The files of a daemon that is killed after some commits.
struct Killed {
    TempFolder folder;
    std::string path = folder.file("killed.db");
    std::string file;
    std::string wal;

    explicit Killed(bool is_folded = false) {
        ManualClock clock;
        asio::io_context loop;
        const auto made = folder.file("volary.db");
        const auto store = Store::open({made}, clock);
        const SessionId session("ses_1");
        for (std::int64_t seq = 1; seq <= 20; ++seq)
            await(loop, store->append(make_append(session, seq)));
        if (is_folded) {
            Database db(made, OpenMode::read_write);
            (void)db.integer("PRAGMA wal_checkpoint(FULL)");
        }
        file = read(made);
        wal = read(made + "-wal");
        await(loop, store->close());
        REQUIRE(wal.size() > kHead + 10 * kFrame);
    }
    static std::string read(const std::string& name) {
        std::ifstream in(name, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    WalReading reading() const {
        std::ofstream(path, std::ios::binary) << file;
        std::ofstream(path + "-wal", std::ios::binary) << wal;
        return read_wal(path);
    }
    /// Whether a daemon would start.
    bool opens() const {
        (void)reading();
        try {
            const ManualClock clock;
            asio::io_context loop;
            const auto store = Store::open({path}, clock);
            await(loop, store->close());
            return true;
        } catch (const Error& error) {
            CHECK_THAT(error.message(), Catch::Contains("has lost commits"));
            CHECK_THAT(error.message(), Catch::Contains("volary backup salvage"));
            return false;
        }
    }
    std::size_t frames() const { return (wal.size() - kHead) / kFrame; }
    char& at(std::size_t frame, std::size_t byte) { return wal[kHead + frame * kFrame + byte]; }
};

}  // namespace

TEST_CASE("a log is read as SQLite reads it", "[wal]") {
    const Killed killed;
    const auto read = killed.reading();
    CHECK(read.problem.empty());
    CHECK(read.frames.size() == killed.frames());
    CHECK(std::ranges::all_of(read.frames, &WalFrame::is_committed));
    CHECK(read.frames.back().ends_commit);
    CHECK(killed.opens());
    CHECK(read_wal(killed.folder.file("none")).frames.empty());
}

TEST_CASE("commits behind a damaged page are told", "[wal]") {
    Killed killed;
    killed.at(killed.frames() / 2, 100) ^= 1;
    const auto read = killed.reading();
    CHECK_THAT(read.problem, Catch::Contains("commits follow it"));
    CHECK_FALSE(read.frames.back().is_committed);
    CHECK_FALSE(killed.opens());
}

TEST_CASE("an end that was being written is none", "[wal]") {
    Killed killed;
    const auto part = GENERATE(10U, 30U, 4000U);
    SECTION("cut off") { killed.wal.resize(killed.wal.size() - part); }
    SECTION("not what was to be written") { killed.at(killed.frames() - 1, part) ^= 1; }
    SECTION("over pages of an earlier life") {
        auto old = killed.wal.substr(killed.wal.size() - 3 * kFrame);
        for (std::size_t i = 0; i < 3; ++i) old[i * kFrame + 8] ^= 1;
        killed.wal += old;
        killed.wal.resize(killed.wal.size() - part);
    }
    CHECK(killed.reading().problem.empty());
    CHECK(killed.opens());
}

TEST_CASE("a damaged head is told unless all of the log is in the database", "[wal]") {
    const auto byte = GENERATE(0U, 9U, 17U, 25U);
    Killed killed;
    killed.wal[byte] ^= 0x40;
    CHECK_THAT(killed.reading().problem, Catch::Contains("the head of"));
    CHECK_FALSE(killed.opens());
    Killed folded(true);
    folded.wal[byte] ^= 0x40;
    CHECK(folded.reading().problem.empty());
    CHECK(folded.opens());
}

TEST_CASE("a log that holds nothing is no problem", "[wal]") {
    Killed killed(true);
    killed.wal.resize(GENERATE(0U, 5U, 32U, 60U));
    CHECK(killed.reading().problem.empty());
    CHECK(killed.opens());
}
