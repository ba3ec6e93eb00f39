// SPDX-License-Identifier: Apache-2.0
// The one thread that pumps bulk. `./test thread` runs this under the thread sanitizer, so it uses
// nothing of the gatekeeper but the data plane.
#include "cage/gatekeeper/data_plane.hpp"

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace std::chrono_literals;

namespace {

/// Two connected pairs: what a cage holds and what the peer holds, with a data plane in between.
struct Between {
    UniqueFd cage, peer;
    DataPlane::Request request;
    Between() {
        int a[2], b[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a) == 0);
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b) == 0);
        cage.reset(a[0]);
        peer.reset(b[0]);
        request.client.reset(a[1]);
        request.peer.reset(b[1]);
        for (const int fd : {a[1], b[1]}) REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    }
};

}  // namespace

TEST_CASE("the data plane moves bytes both ways and passes each end on", "[data]") {
    asio::io_context context;
    DataPlane plane(context.get_executor());
    Between between;
    bool ended = false;
    between.request.ended = [&] { ended = true; };
    const auto pair = plane.start(std::move(between.request));
    const std::string text(5'000'000, 'd');
    std::thread writer([&] {
        for (std::size_t at = 0; at < text.size();) {
            const auto put = ::send(between.cage.get(), text.data() + at, text.size() - at, 0);
            if (put <= 0) break;
            at += static_cast<std::size_t>(put);
        }
        ::shutdown(between.cage.get(), SHUT_WR);
    });
    std::size_t got = 0;
    std::vector<char> buffer(65536);
    for (ssize_t size = 0;
         (size = ::recv(between.peer.get(), buffer.data(), buffer.size(), 0)) > 0;)
        got += static_cast<std::size_t>(size);
    writer.join();
    CHECK(got == text.size());
    REQUIRE(::send(between.peer.get(), "back", 4, 0) == 4);
    ::shutdown(between.peer.get(), SHUT_WR);
    CHECK(::recv(between.cage.get(), buffer.data(), buffer.size(), MSG_WAITALL) == 4);
    auto work = asio::make_work_guard(context);
    while (!ended) context.run_one_for(5s);
    CHECK(pair->outcome() == DataPlane::Outcome::ended);
    CHECK(pair->bytes_up() == text.size());
    CHECK(pair->bytes_down() == 4);
}

TEST_CASE("a pace lets a rate through and a little at once", "[data]") {
    BytePace pace;
    const auto start = std::chrono::steady_clock::now();
    CHECK(pace.wait(start) == 0ns);
    CHECK(pace.allowed(start) > 1U << 30U);
    pace.charge(1U << 30U, start);
    CHECK(pace.wait(start) == 0ns);

    pace.limit(1'000'000);
    CHECK(pace.allowed(start) == 100'000);
    pace.charge(100'000, start);
    CHECK(pace.wait(start) == 0ns);
    CHECK(pace.allowed(start) == 4096);
    pace.charge(50'000, start);
    CHECK(pace.allowed(start) == 0);
    CHECK(pace.wait(start) == 50ms);
    CHECK(pace.wait(start + 50ms) == 0ns);
    // What was not used is not saved up.
    CHECK(pace.allowed(start + 10s) == 100'000);
}

TEST_CASE("two connections of a cage share its pace, and all of it arrives", "[data]") {
    asio::io_context context;
    DataPlane plane(context.get_executor());
    auto budget = std::make_shared<ByteBudget>();
    budget->pace.limit(2'000'000);
    constexpr std::size_t kEach = 400'000;
    const auto begun = std::chrono::steady_clock::now();
    std::vector<Between> both(2);
    std::vector<std::thread> threads;
    std::atomic<std::size_t> got{0};
    for (auto& between : both) {
        between.request.budget = budget;
        (void)plane.start(std::move(between.request));
        threads.emplace_back([&] {
            const std::string text(kEach, 'p');
            for (std::size_t at = 0; at < text.size();) {
                const auto put = ::send(between.cage.get(), text.data() + at, text.size() - at, 0);
                if (put <= 0) break;
                at += static_cast<std::size_t>(put);
            }
            ::shutdown(between.cage.get(), SHUT_WR);
        });
        threads.emplace_back([&] {
            std::vector<char> buffer(65536);
            for (ssize_t size = 0;
                 (size = ::recv(between.peer.get(), buffer.data(), buffer.size(), 0)) > 0;)
                got += static_cast<std::size_t>(size);
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(got == 2 * kEach);
    // 800 kB at 2 MB/s, the first 200 kB of them at once.
    CHECK(std::chrono::steady_clock::now() - begun >= 290ms);
}

TEST_CASE("a receiver that does not read stops its sender, not the others", "[data]") {
    asio::io_context context;
    DataPlane plane(context.get_executor());
    // More than there are pipes: the rest is copied.
    std::vector<std::unique_ptr<Between>> slow;
    std::vector<std::shared_ptr<DataPlane::Pair>> pairs;
    const std::string block(65536, 's');
    for (int i = 0; i < 80; ++i) {
        auto& one = *slow.emplace_back(std::make_unique<Between>());
        pairs.push_back(plane.start(std::move(one.request)));
        while (::send(one.cage.get(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
        }
    }
    Between quick;
    const auto pair = plane.start(std::move(quick.request));
    char byte = 'q';
    REQUIRE(::send(quick.cage.get(), &byte, 1, 0) == 1);
    CHECK(::recv(quick.peer.get(), &byte, 1, 0) == 1);
    // Every byte that was taken arrives once the receiver reads.
    for (auto& one : slow) {
        ::shutdown(one->cage.get(), SHUT_WR);
        std::vector<char> buffer(65536);
        bool same = true;
        for (ssize_t size = 0;
             (size = ::recv(one->peer.get(), buffer.data(), buffer.size(), 0)) > 0;)
            same = same && std::ranges::all_of(buffer.begin(), buffer.begin() + size, [](char c) {
                       return c == 's';
                   });
        CHECK(same);
    }
}

TEST_CASE("an aborted pair is over, and a budget ends one", "[data]") {
    asio::io_context context;
    DataPlane plane(context.get_executor());
    auto work = asio::make_work_guard(context);
    for (const bool budget : {false, true}) {
        Between between;
        bool ended = false;
        between.request.ended = [&] { ended = true; };
        between.request.budget = std::make_shared<ByteBudget>();
        between.request.budget->limited = budget;
        between.request.budget->left = 10;
        const auto pair = plane.start(std::move(between.request));
        if (budget) REQUIRE(::send(between.cage.get(), "more than ten", 13, 0) == 13);
        if (!budget) pair->abort();
        while (!ended) context.run_one_for(5s);
        const auto wanted = budget ? DataPlane::Outcome::over_budget : DataPlane::Outcome::failed;
        CHECK(pair->outcome() == wanted);
    }
}

TEST_CASE("pairs come, are looked at, aborted and ended while others move", "[data]") {
    asio::io_context context;
    auto work = asio::make_work_guard(context);
    DataPlane plane(context.get_executor());
    const auto budget = std::make_shared<ByteBudget>();
    budget->limited = true;
    budget->left = 1'000'000'000;
    const std::string block(200'000, 'b');
    constexpr int kPairs = 60;
    int ended = 0;
    std::vector<std::unique_ptr<Between>> all;
    std::vector<std::shared_ptr<DataPlane::Pair>> pairs;
    for (int i = 0; i < kPairs; ++i) {
        auto& one = *all.emplace_back(std::make_unique<Between>());
        one.request.budget = budget;
        one.request.ended = [&] { ++ended; };
        pairs.push_back(plane.start(std::move(one.request)));
        while (::send(one.cage.get(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
        }
        ::shutdown(one.cage.get(), SHUT_WR);
    }
    // What an operator's look and a cage's end do meanwhile.
    std::uint64_t seen = 0;
    for (int i = 0; i < kPairs; ++i) {
        seen += pairs[static_cast<std::size_t>(i)]->bytes_up();
        if (i % 3 == 0) pairs[static_cast<std::size_t>(i)]->abort();
        if (i % 3 == 1) all[static_cast<std::size_t>(i)]->peer.reset();
        if (i % 3 == 2) {
            std::vector<char> buffer(65536);
            const int peer = all[static_cast<std::size_t>(i)]->peer.get();
            while (::recv(peer, buffer.data(), buffer.size(), 0) > 0) {
            }
            all[static_cast<std::size_t>(i)]->peer.reset();
        }
    }
    while (ended < kPairs) context.run_one_for(5s);
    std::uint64_t total = 0;
    for (const auto& pair : pairs) {
        CHECK(pair->outcome() != DataPlane::Outcome::running);
        total += pair->bytes_up();
    }
    CHECK(total >= seen);
    CHECK(budget->left == 1'000'000'000 - static_cast<std::int64_t>(total));
}

TEST_CASE("a data plane that goes drops what it moves", "[data]") {
    asio::io_context context;
    Between between;
    auto plane = std::make_unique<DataPlane>(context.get_executor());
    auto pair = plane->start(std::move(between.request));
    const std::string block(200'000, 'b');
    while (::send(between.cage.get(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
    }
    plane.reset();
    pair.reset();
    context.run();
    char byte = 0;
    // The end, or the reset of a socket that held unread bytes.
    while (::recv(between.peer.get(), &byte, 1, 0) > 0) {
    }
    CHECK(::send(between.peer.get(), &byte, 1, MSG_NOSIGNAL) < 0);
}
