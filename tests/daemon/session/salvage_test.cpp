// SPDX-License-Identifier: Apache-2.0
//
// Real files, damaged in many ways. What must be there afterwards is told by the bytes themselves:
// each event's text carries a mark, and an event none of whose marks stands in a damaged page must
// have been saved, or lie in the file of what nothing proves.
#include "daemon/session/salvage.hpp"

#include "base/error.hpp"
#include "daemon/session/fold.hpp"
#include "daemon/session/import.hpp"
#include "daemon/session/state.hpp"
#include "daemon/store/backup.hpp"
#include "daemon/store/store.hpp"
#include "tests/support/loop.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::session;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kWalHead = 32;
constexpr std::size_t kFrame = 24 + kPage;
constexpr int kSessions = 8;
constexpr std::int64_t kEvents = 45;

std::string read_all(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void write_all(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

std::string mark_of(int session, std::int64_t seq) { return fmt::format("<{}/{}>", session, seq); }

Event event_of(const SessionId& id, int session, std::int64_t seq) {
    Event event;
    event.session = id;
    event.seq = seq;
    event.at = 1'700'000'000'000 + seq;
    event.actor = "operator:test";
    if (seq == 1) {
        event.kind = "session.created";
        event.body = fmt::format(R"({{"project":"shop","title":"{}"}})", mark_of(session, seq));
        return event;
    }
    event.kind = "agent.said";
    // Some are longer than a page: marks all along, so that each page of it has one.
    const int times = seq % 17 == 0 ? 1500 : 1 + static_cast<int>(seq % 5) * 10;
    std::string text;
    for (int i = 0; i < times; ++i) text += mark_of(session, seq);
    event.body = fmt::format(R"({{"text":"{}"}})", text);
    return event;
}

/// A database with sessions whose events came in turns, closed or as a daemon leaves it that is
/// killed.
struct Database {
    test::TempFolder folder;
    std::string path = folder.path() + "/volary.db";
    std::vector<SessionId> ids;
    std::map<std::string, std::vector<Event>> logs;

    Database(bool with_wal, std::uint32_t seed) {
        test::Loop loop;
        SystemClock clock;
        const auto made = folder.path() + "/made";
        const auto store = store::Store::open({made + "/volary.db"}, clock);
        loop.run(store->put_project({"shop", "/srv/shop", 1}));
        for (int i = 0; i < kSessions; ++i) ids.push_back(SessionId::make(clock));
        std::mt19937 random(seed);
        std::map<int, std::int64_t> next;
        for (std::int64_t left = kSessions * kEvents; left > 0;) {
            const int session = static_cast<int>(random() % kSessions);
            auto& seq = next[session];
            if (seq == kEvents) continue;
            const auto count = std::min<std::int64_t>(1 + random() % 4, kEvents - seq);
            loop.run(store->append(piece(session, seq + 1, count)));
            seq += count;
            left -= count;
        }
        if (!with_wal) loop.run(store->close());
        for (const char* end : {"", "-wal"})
            if (std::filesystem::exists(made + "/volary.db" + end))
                std::filesystem::copy_file(made + "/volary.db" + end, path + end);
        if (with_wal) loop.run(store->close());
    }

    store::Append piece(int session, std::int64_t first, std::int64_t count) {
        store::Append append;
        append.session = ids[static_cast<std::size_t>(session)];
        auto& log = logs[append.session.str()];
        for (auto seq = first; seq < first + count; ++seq) {
            append.events.push_back(event_of(append.session, session, seq));
            log.push_back(append.events.back());
        }
        const auto state = fold(log);
        append.session_row = store::SessionRow{
            state.id,         state.project,    state.title, std::string(status_of(state)),
            state.created_at, state.updated_at, 0,           to_projection(state)
        };
        append.idempotency = store::IdempotencyRow{
            fmt::format("{}-{}", session, first + count - 1),
            "operator:test POST /messages",
            "hash",
            202,
            fmt::format(R"({{"session":"{}","seq":{}}})", append.session.str(), first + count - 1),
            1
        };
        return append;
    }
};

/// The marks in a text.
std::set<std::string> marks_in(const std::string& text) {
    std::set<std::string> out;
    for (auto at = text.find('<'); at != std::string::npos; at = text.find('<', at + 1)) {
        const auto end = text.find('>', at);
        if (end == std::string::npos || end - at > 12) continue;
        out.insert(text.substr(at, end - at + 1));
    }
    return out;
}

/// The pages of a database and its log, as one list.
struct Pages {
    std::string file;
    std::string wal;

    std::size_t in_file() const { return file.size() / kPage; }
    std::size_t count() const {
        return in_file() + (wal.size() > kWalHead ? (wal.size() - kWalHead) / kFrame : 0);
    }
    char* at(std::size_t page) {
        return page < in_file() ? file.data() + page * kPage
                                : wal.data() + kWalHead + (page - in_file()) * kFrame + 24;
    }
    std::string text(std::size_t page) { return {at(page), kPage}; }
};

/// Overwrites a page with garbage, zeros, or only some of it.
void damage_page(char* page, std::mt19937& random) {
    const auto kind = random() % 4;
    const auto from = kind < 2 ? 0 : random() % kPage;
    const auto size = kind < 2 ? kPage : std::min<std::size_t>(kPage - from, 1 + random() % 900);
    for (std::size_t i = from; i < from + size; ++i)
        page[i] = kind == 1 ? '\0' : static_cast<char>(random());
}

/// Where every mark stands, by page.
std::map<std::string, std::set<std::size_t>> places_of_marks(Pages& pages) {
    std::map<std::string, std::set<std::size_t>> out;
    for (std::size_t page = 0; page < pages.count(); ++page)
        for (const auto& mark : marks_in(pages.text(page))) out[mark].insert(page);
    return out;
}

/// The logs of a database, by session.
std::map<std::string, std::vector<Event>> logs_in(
    const std::string& database, const std::vector<SessionId>& ids
) {
    test::Loop loop;
    SystemClock clock;
    const auto store = store::Store::open({database}, clock);
    std::map<std::string, std::vector<Event>> out;
    for (const auto& id : ids) {
        auto log = loop.run(store->events(id, 0, 10'000));
        out[id.str()] = std::move(log);
    }
    loop.run(store->close());
    return out;
}

/// Checks the report and the new database against what was written and what is damaged.
void check_saved(
    const Database& made, const SalvageReport& report,
    const std::map<std::string, std::set<std::size_t>>& places, const std::set<std::size_t>& bad
) {
    const auto verdict = store::verify_database(report.database);
    CHECK(verdict.problems.empty());
    const auto unproven = report.unproven.empty() ? std::string() : read_all(report.unproven);
    const auto loose = marks_in(unproven);
    const auto logs = logs_in(report.database, made.ids);
    for (int i = 0; i < kSessions; ++i) {
        const auto& id = made.ids[static_cast<std::size_t>(i)];
        const auto& log = made.logs.at(id.str());
        const auto is = [&](const SalvagedSession& one) { return one.id == id; };
        const auto found = std::ranges::find_if(report.sessions, is);
        const auto saved = found == report.sessions.end() ? 0 : found->saved;
        const auto& events = logs.at(id.str());
        REQUIRE(static_cast<std::int64_t>(events.size()) >= saved);
        for (std::int64_t seq = 1; seq <= kEvents; ++seq) {
            const auto mark = mark_of(i, seq);
            const auto& at = places.at(mark);
            const bool untouched =
                std::ranges::none_of(at, [&](std::size_t page) { return bad.contains(page); });
            INFO("event " << mark << " of " << saved << " saved");
            if (seq <= saved)
                CHECK(
                    events[static_cast<std::size_t>(seq) - 1] ==
                    log[static_cast<std::size_t>(seq) - 1]
                );
            else if (untouched)
                CHECK(loose.contains(mark));
        }
        if (saved > 0 && saved < kEvents) {
            REQUIRE(static_cast<std::int64_t>(events.size()) == saved + 1);
            CHECK(events.back().kind == "session.salvaged");
            const auto body = Json::parse(events.back().body);
            CHECK(body.at("events") == saved);
        }
    }
}

/// Damages `count` pages of a fresh database and salvages it.
void run_round(std::uint32_t seed, bool with_wal, std::size_t count) {
    INFO("seed " << seed << (with_wal ? " with a log" : "") << ", " << count << " pages");
    const Database made(with_wal, seed);
    Pages pages{read_all(made.path), with_wal ? read_all(made.path + "-wal") : std::string()};
    const auto places = places_of_marks(pages);
    std::mt19937 random(seed);
    std::set<std::size_t> bad;
    while (bad.size() < count) bad.insert(random() % pages.count());
    for (const auto page : bad) damage_page(pages.at(page), random);
    write_all(made.path, pages.file);
    if (with_wal) write_all(made.path + "-wal", pages.wal);
    const SystemClock clock;
    const auto report = salvage_state(made.folder.path(), clock);
    if (report.was_whole) {
        // What was hit holds nothing: a free page, or one that the log has a newer copy of.
        CHECK(logs_in(made.path, made.ids) == made.logs);
        return;
    }
    CHECK(std::filesystem::exists(report.kept));
    CHECK(read_all(report.kept) == pages.file);
    check_saved(made, report, places, bad);
}

}  // namespace

TEST_CASE("a whole database is left alone", "[salvage]") {
    const bool with_wal = GENERATE(false, true);
    const Database made(with_wal, 1);
    const auto before = read_all(made.path);
    const SystemClock clock;
    const auto report = salvage_state(made.folder.path(), clock);
    CHECK(report.was_whole);
    CHECK(report.is_complete());
    CHECK(read_all(made.path) == before);
}

TEST_CASE("page by page, a whole database is read as SQLite reads it", "[salvage]") {
    const bool with_wal = GENERATE(false, true);
    const Database made(with_wal, 2);
    const SystemClock clock;
    const auto report = salvage_file(made.path, clock);
    CHECK(report.is_complete());
    CHECK(report.sessions.size() == kSessions);
    CHECK(report.projects == 1);
    CHECK(report.unproven.empty());
    CHECK(report.kept == made.path);
    CHECK(report.database == made.path + ".salvaged");
    CHECK(logs_in(report.database, made.ids) == made.logs);
    test::Loop loop;
    const auto store = store::Store::open({report.database}, clock);
    for (const auto& [id, log] : made.logs) {
        const auto row = loop.run(store->find_session(SessionId(id)));
        REQUIRE(row);
        CHECK(from_projection(row->state) == fold(log));
    }
    CHECK(loop.run(store->find_project("shop")));
    // An answer is kept as long as what it answers for is.
    CHECK(loop.run(store->find_idempotent("operator:test POST /messages", "0-45")));
    loop.run(store->close());
    CHECK_THROWS_WITH(salvage_file(made.path, clock), Catch::Contains("is there already"));
}

TEST_CASE("what stands outside of damaged pages is saved", "[salvage]") {
    for (std::uint32_t seed = 1; seed <= 7; ++seed) run_round(seed, false, seed);
    for (std::uint32_t seed = 100; seed <= 102; ++seed) run_round(seed, false, 30);
}

TEST_CASE("the same, where the log has not been folded in", "[salvage]") {
    for (std::uint32_t seed = 200; seed <= 205; ++seed) run_round(seed, true, 1 + seed % 7);
}

TEST_CASE("every tree of the tables can be gone", "[salvage]") {
    const Database made(false, 3);
    Pages pages{read_all(made.path), {}};
    const auto places = places_of_marks(pages);
    std::set<std::size_t> bad;
    std::mt19937 random(3);
    for (std::size_t page = 0; page < pages.count(); ++page) {
        const auto head = static_cast<unsigned char>(pages.at(page)[page == 0 ? 100 : 0]);
        // The file's head, and each page that only leads to others.
        if (page != 0 && head != 2 && head != 5) continue;
        bad.insert(page);
        for (std::size_t i = 0; i < kPage; ++i) pages.at(page)[i] = static_cast<char>(random());
    }
    REQUIRE(bad.size() > 1);
    write_all(made.path, pages.file);
    const SystemClock clock;
    const auto report = salvage_state(made.folder.path(), clock);
    CHECK(report.is_complete());
    check_saved(made, report, places, bad);
}

TEST_CASE(
    "a session is cut at the first event that is gone, and what is behind it kept", "[salvage]"
) {
    const Database made(false, 4);
    auto bytes = read_all(made.path);
    const auto mark = mark_of(5, 30);
    const auto at = bytes.find(mark);
    REQUIRE(at != std::string::npos);
    bytes[at + 1] = 'x';
    write_all(made.path, bytes);
    const SystemClock clock;
    const auto report = salvage_state(made.folder.path(), clock);
    CHECK_FALSE(report.was_whole);
    CHECK_FALSE(report.is_complete());
    const auto& id = made.ids[5];
    const auto found = std::ranges::find(report.sessions, id, &SalvagedSession::id);
    REQUIRE(found != report.sessions.end());
    CHECK(found->saved == 29);
    CHECK(found->known == kEvents);
    CHECK(found->lost.empty());
    REQUIRE(found->unproven.size() == 1);
    CHECK(found->unproven[0].first == 30);
    CHECK(found->unproven[0].last == kEvents);
    CHECK(marks_in(read_all(report.unproven)).contains(mark_of(5, kEvents)));
    // The answer to what is gone is gone, so that sending it again does it again.
    test::Loop loop;
    const auto store = store::Store::open({report.database}, clock);
    CHECK_FALSE(loop.run(store->find_idempotent("operator:test POST /messages", "5-45")));
    const auto events = loop.run(store->events(id, 29, 10));
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == "session.salvaged");
    CHECK(loop.run(store->verify(id)).problem.empty());
    loop.run(store->close());
}

TEST_CASE("a file that is nothing any more gives nothing, and says so", "[salvage]") {
    const test::TempFolder folder;
    const SystemClock clock;
    CHECK_THROWS_WITH(salvage_state(folder.path(), clock), Catch::Contains("there is no database"));
    const auto garbage = folder.write("garbage.db", std::string(50'000, 'x'));
    const auto report = salvage_file(garbage, clock);
    CHECK(report.sessions.empty());
    const auto empty = folder.write("empty.db", "");
    CHECK_THROWS_WITH(salvage_file(empty, clock), Catch::Contains("is empty"));
}

TEST_CASE("a daemon that runs keeps its folder", "[salvage]") {
    const test::TempFolder folder;
    const SystemClock clock;
    test::Loop loop;
    const auto store = store::Store::open({folder.path() + "/volary.db"}, clock);
    CHECK_THROWS_WITH(
        salvage_state(folder.path(), clock), Catch::Contains("in use by another volary")
    );
    CHECK_THROWS_WITH(salvage_file(folder.path() + "/volary.db", clock), Catch::Contains("in use"));
    loop.run(store->close());
}
