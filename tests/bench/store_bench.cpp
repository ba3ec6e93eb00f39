// SPDX-License-Identifier: Apache-2.0
//
// Durable appends against raw SQLite commits of the same rows on the same disk, a page of the log,
// and a start with many stored sessions. Usage: store_bench [--json] [FOLDER]; FOLDER (default: the
// temporary one) must be on a real disk for the figures to mean anything.
#include "daemon/store/database.hpp"
#include "daemon/store/store.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <vector>

#include <fmt/format.h>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

using SteadyClock = std::chrono::steady_clock;
using Micros = std::chrono::duration<double, std::micro>;

constexpr int kSingleAppends = 1000;
constexpr int kRounds = 5;                     // raw and ours take turns, so that drift hits both
constexpr std::int64_t kEventsPerAppend = 10;  // of the batched figure
constexpr int kBatchedEvents = 200'000;
constexpr int kStoredSessions = 1000;
constexpr std::int64_t kPage = 200;

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

double micros_since(SteadyClock::time_point start) {
    return Micros(SteadyClock::now() - start).count();
}

/// An event of about 300 bytes, as the API sends it.
Event bench_event(const SessionId& session, std::int64_t seq) {
    auto event = make_event(session, seq);
    event.run = RunId("run_01JD0000000000000000000000");
    event.body = R"({"text":")" + std::string(110, 'x') + R"("})";
    return event;
}

Append bench_append(const SessionId& session, std::int64_t first, std::int64_t count) {
    Append append;
    append.session = session;
    for (auto seq = first; seq < first + count; ++seq)
        append.events.push_back(bench_event(session, seq));
    if (first == 1) append.session_row = make_session(session);
    return append;
}

/// The same row by hand: one statement, one commit.
class RawLog {
public:
    explicit RawLog(const std::string& path) {
        std::ofstream(path).flush();
        db_ = std::make_unique<Database>(path, OpenMode::read_write);
        db_->exec(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE event (session TEXT, seq INTEGER, at INTEGER, kind TEXT, actor TEXT,"
            " run TEXT, body TEXT, PRIMARY KEY (session, seq)) WITHOUT ROWID"
        );
    }

    double append(const SessionId& session, std::int64_t seq) {
        const auto event = bench_event(session, seq);
        const auto start = SteadyClock::now();
        auto insert = db_->prepare("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        insert.bind(event.session.str()).bind(event.seq).bind(event.at).bind(event.kind);
        insert.bind(event.actor).bind(event.run.str()).bind(event.body).exec();
        return micros_since(start);
    }

private:
    std::unique_ptr<Database> db_;
};

struct Load {
    Store* store;
    std::int64_t appends;
    std::int64_t events_per_append;
    std::vector<double> micros;
};

asio::awaitable<void> write_load(Load* load, SessionId session, std::int64_t first) {
    auto seq = first;
    for (std::int64_t i = 0; i < load->appends; ++i) {
        auto append = bench_append(session, seq, load->events_per_append);
        const auto start = SteadyClock::now();
        co_await load->store->append(std::move(append));
        load->micros.push_back(micros_since(start));
        seq += load->events_per_append;
    }
}

struct Figure {
    double p50_us = 0;
    double appends_per_s = 0;
    double events_per_s = 0;
};

/// `writers` sessions that each append one thing after the other.
Figure concurrent(
    asio::io_context& loop, Store& store, const Clock& clock, int writers, std::int64_t total,
    std::int64_t events_per_append
) {
    Load load{
        &store,
        std::max<std::int64_t>(total / writers / events_per_append, 1),
        events_per_append,
        {}
    };
    auto rethrow = [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
    };
    loop.restart();
    const auto start = SteadyClock::now();
    for (int i = 0; i < writers; ++i)
        asio::co_spawn(loop, write_load(&load, SessionId::make(clock), 1), rethrow);
    loop.run();
    const auto seconds = micros_since(start) / 1e6;
    const auto appends = static_cast<double>(load.micros.size());
    return {
        median(load.micros), appends / seconds,
        appends * static_cast<double>(events_per_append) / seconds
    };
}

asio::awaitable<void> read_pages(Store* store, SessionId session, std::vector<double>* micros) {
    for (int i = 0; i < 500; ++i) {
        const auto start = SteadyClock::now();
        const auto page = co_await store->events_page_json(session, kPage, kPage);
        micros->push_back(micros_since(start));
    }
}

double page_micros(asio::io_context& loop, Store& store, const Clock& clock) {
    const auto session = SessionId::make(clock);
    await(loop, store.append(bench_append(session, 1, 3 * kPage)));
    std::vector<double> micros;
    await(loop, read_pages(&store, session, &micros));
    return median(micros);
}

/// Milliseconds from nothing to the answers that a start of the daemon needs.
double open_millis(asio::io_context& loop, const std::string& path, const Clock& clock) {
    {
        auto store = Store::open({path}, clock);
        for (int i = 0; i < kStoredSessions; ++i) {
            auto append = bench_append(SessionId::make(clock), 1, 20);
            append.session_row->state = R"({"plan":")" + std::string(4000, 'x') + R"("})";
            if (i % 100 == 0) append.session_row->status = "working";
            await(loop, store->append(std::move(append)));
        }
        await(loop, store->close());
    }
    std::vector<double> millis;
    for (int i = 0; i < kRounds; ++i) {
        const auto start = SteadyClock::now();
        auto store = Store::open({path}, clock);
        (void)await(loop, store->unfinished_sessions());
        (void)await(loop, store->sessions({}));
        millis.push_back(micros_since(start) / 1000);
        await(loop, store->close());
    }
    return median(millis);
}

struct Results {
    double raw_p50 = 0;
    double append_p50 = 0;
    Figure one, sixty_four, thousand, sixty_four_single, thousand_single;
    double page = 0;
    double open = 0;
};

Results measure(const std::string& base) {
    const TempFolder folder(base);
    const SystemClock clock;
    asio::io_context loop;
    auto store = Store::open({folder.file("volary.db")}, clock);
    RawLog raw(folder.file("raw.db"));
    Results results;
    std::vector<double> raws;
    const auto session = SessionId::make(clock);
    await(loop, store->append(bench_append(session, 1, 1)));
    Load load{store.get(), kSingleAppends / kRounds, 1, {}};
    double seconds = 0;
    for (int round = 0; round < kRounds; ++round) {
        const auto first = round * load.appends + 2;
        for (std::int64_t i = 0; i < load.appends; ++i)
            raws.push_back(raw.append(session, first + i));
        const auto start = SteadyClock::now();
        await(loop, write_load(&load, session, first));
        seconds += micros_since(start) / 1e6;
    }
    results.raw_p50 = median(raws);
    results.append_p50 = median(load.micros);
    results.one.appends_per_s = static_cast<double>(load.micros.size()) / seconds;
    results.one.events_per_s = results.one.appends_per_s;
    results.one.p50_us = results.append_p50;
    results.sixty_four_single = concurrent(loop, *store, clock, 64, kBatchedEvents / 10, 1);
    results.thousand_single = concurrent(loop, *store, clock, 1000, kBatchedEvents / 4, 1);
    results.sixty_four = concurrent(loop, *store, clock, 64, kBatchedEvents, kEventsPerAppend);
    results.thousand = concurrent(loop, *store, clock, 1000, kBatchedEvents, kEventsPerAppend);
    results.page = page_micros(loop, *store, clock);
    await(loop, store->close());
    const TempFolder stored(base);
    results.open = open_millis(loop, stored.file("volary.db"), clock);
    return results;
}

void print_json(const Results& r) {
    fmt::print(
        R"({{"append_p50_us":{:.1f},"raw_p50_us":{:.1f},"append_ratio":{:.2f},)"
        R"("append_1_per_s":{:.0f},"append_64_per_s":{:.0f},"append_1000_per_s":{:.0f},)"
        R"("events_64_per_s":{:.0f},"events_1000_per_s":{:.0f},)"
        R"("page200_us":{:.1f},"open_1000_ms":{:.2f}}})"
        "\n",
        r.append_p50, r.raw_p50, r.append_p50 / r.raw_p50, r.one.appends_per_s,
        r.sixty_four_single.appends_per_s, r.thousand_single.appends_per_s,
        r.sixty_four.events_per_s, r.thousand.events_per_s, r.page, r.open
    );
}

void print_row(std::string_view what, const Figure& figure) {
    fmt::print(
        "{:<44}{:>12.0f}{:>12.0f}{:>12.0f}\n", what, figure.p50_us, figure.appends_per_s,
        figure.events_per_s
    );
}

void print_table(const Results& r) {
    fmt::print("{:<44}{:>12}{:>12}{:>12}\n", "durable appends", "p50 us", "appends/s", "events/s");
    print_row("raw SQLite, one row a commit", {r.raw_p50, 1e6 / r.raw_p50, 1e6 / r.raw_p50});
    print_row("1 writer, 1 event", r.one);
    print_row("64 writers, 1 event", r.sixty_four_single);
    print_row("1000 writers, 1 event", r.thousand_single);
    print_row("64 writers, 10 events", r.sixty_four);
    print_row("1000 writers, 10 events", r.thousand);
    fmt::print("append p50 / raw p50: {:.2f} (budget 2)\n", r.append_p50 / r.raw_p50);
    fmt::print("page of 200 events: {:.0f} us (budget 1000)\n", r.page);
    fmt::print("open and list with 1000 sessions: {:.1f} ms\n", r.open);
}

}  // namespace

int main(int argc, char** argv) {
    bool json = false;
    std::string base = std::filesystem::temp_directory_path();
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument(argv[i]);
        if (argument == "--json")
            json = true;
        else
            base = argument;
    }
    try {
        const auto results = measure(base);
        json ? print_json(results) : print_table(results);
    } catch (const std::exception& error) {
        fmt::print(stderr, "store_bench: {}\n", error.what());
        return 1;
    }
    return 0;
}
