// SPDX-License-Identifier: Apache-2.0
//
// kill -9 in the middle of appends. The writer is this test program again, run with the name of the
// hidden case below, so that what dies is a process and not a simulation of one.
#include "base/child.hpp"
#include "base/error.hpp"
#include "tests/daemon/store/fixture.hpp"

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace volary;
using namespace volary::store;
using namespace volary::store::test;

namespace {

constexpr int kWriters = 40;
constexpr const char* kDatabaseVariable = "VOLARY_CRASH_DATABASE";

SessionId session_of(int writer) { return SessionId(fmt::format("ses_{}", writer)); }

/// Appends one or two events at a time, for ever, and says which were acknowledged.
asio::awaitable<void> write_forever(Store* store, SessionId session) {
    const auto found = co_await store->find_session(session);
    std::int64_t seq = found ? found->last_seq + 1 : 1;
    while (true) {
        auto append = make_append(session, seq, 1 + seq % 2);
        const auto last = append.events.back().seq;
        co_await store->append(std::move(append));
        const auto line = fmt::format("ack {} {}\n", session.str(), last);
        if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) throw_errno("write");
        seq = last + 1;
    }
}

/// Reads acknowledgements until `enough` have come, kills the writer, reads the rest.
std::map<std::string, std::int64_t> run_and_kill(const std::string& path, int enough) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe");
    const UniqueFd out(ends[0]);
    UniqueFd in(ends[1]);
    ChildSpec spec;
    spec.argv = {"/proc/self/exe", "the process that is killed"};
    spec.argv[0] = std::filesystem::read_symlink("/proc/self/exe");
    spec.env = {fmt::format("{}={}", kDatabaseVariable, path)};
    spec.fds = {{in.get(), STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
    auto child = Child::spawn(spec);
    in.reset();

    std::map<std::string, std::int64_t> acknowledged;
    std::string text;
    char buffer[4096];
    while (true) {
        const auto size = ::read(out.get(), buffer, sizeof buffer);
        if (size <= 0) break;
        text.append(buffer, static_cast<std::size_t>(size));
        for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
            char session[32];
            long long seq = 0;
            if (std::sscanf(text.c_str(), "ack %31s %lld", session, &seq) == 2) {
                CHECK(seq > acknowledged[session]);
                acknowledged[session] = seq;
                if (--enough == 0) CHECK(child.send_signal(SIGKILL));
            }
            text.erase(0, end + 1);
        }
    }
    CHECK(enough <= 0);
    return acknowledged;  // Reading ended because the writer has: the destructor reaps it.
}

}  // namespace

TEST_CASE("the process that is killed", "[.]") {
    const char* path = std::getenv(kDatabaseVariable);
    REQUIRE(path != nullptr);
    const SystemClock clock;
    asio::io_context loop;
    auto store = Store::open({path}, clock);
    auto rethrow = [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
    };
    for (int i = 0; i < kWriters; ++i)
        asio::co_spawn(loop, write_forever(store.get(), session_of(i)), rethrow);
    loop.run();
}

TEST_CASE("after kill -9 every acknowledged append is there, once and in order", "[store]") {
    const TempFolder folder;
    const auto path = folder.file("volary.db");
    const ManualClock clock;
    for (const int enough : {1, 37, 400, 1000}) {
        const auto acknowledged = run_and_kill(path, enough);
        asio::io_context loop;
        auto store = Store::open({path}, clock);
        for (const auto& [name, last] : acknowledged) {
            const SessionId session(name);
            const auto row = await(loop, store->find_session(session));
            REQUIRE(row);
            CHECK(row->last_seq >= last);
            const auto events = await(loop, store->events(session, 0, 10'000));
            std::vector<Event> expected;
            for (std::int64_t seq = 1; seq <= row->last_seq; ++seq)
                expected.push_back(make_event(session, seq));
            CHECK(events == expected);
        }
        await(loop, store->close());
    }
}
