// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/notify.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;

namespace {

wire::DeniedCall call(int number, std::string command = "sh") {
    wire::DeniedCall out;
    out.number = number;
    out.command = std::move(command);
    return out;
}

std::uint64_t total(const std::vector<wire::DeniedCall>& calls) {
    std::uint64_t out = 0;
    for (const auto& one : calls) out += one.count;
    return out;
}

}  // namespace

TEST_CASE("a new kind of refused call is told at once, its repetitions later", "[notify]") {
    CallCounter counter;
    CHECK(counter.add(call(165), 1000).size() == 1);
    CHECK_FALSE(counter.next_flush());
    for (int i = 0; i < 500; ++i) CHECK(counter.add(call(165), 1500).empty());
    CHECK(counter.add(call(165, "other"), 1500).size() == 1);
    CHECK(counter.next_flush() == 11'000U);
    CHECK(counter.flush(10'999).empty());
    const auto due = counter.flush(11'000);
    REQUIRE(due.size() == 1);
    CHECK(due.front().count == 500);
    CHECK(counter.finish().empty());
}

TEST_CASE("a flood of a million is a handful of frames, and none is lost", "[notify]") {
    CallCounter counter;
    std::uint64_t frames = 0;
    std::uint64_t told = 0;
    const auto note = [&](const std::vector<wire::DeniedCall>& calls) {
        frames += calls.size();
        told += total(calls);
    };
    for (std::uint64_t i = 0; i < 1'000'000; ++i)
        note(counter.add(call(165, "c" + std::to_string(i % 1000)), i / 10));
    CHECK(frames <= 2 * 51);
    note(counter.finish());
    CHECK(told == 1'000'000);
}

TEST_CASE("what is left is told at the end", "[notify]") {
    CallCounter counter;
    (void)counter.add(call(1), 0);
    (void)counter.add(call(1), 1);
    const auto due = counter.finish();
    REQUIRE(due.size() == 1);
    CHECK(due.front().count == 1);
}

TEST_CASE("a minute after too many kinds the rest is told in one", "[notify]") {
    CallCounter counter;
    for (int i = 0; i < 80; ++i) (void)counter.add(call(i), 0);
    CHECK(counter.next_flush() == 60'000U);
    const auto due = counter.flush(60'000);
    REQUIRE(due.size() == 1);
    CHECK(due.front().number == -1);
    CHECK(due.front().count == 30);
}

TEST_CASE("without a listener there is nothing to wait for", "[notify]") {
    const Notifier notifier;
    CHECK(notifier.poll_fd(0) == -1);
    CHECK(notifier.poll_wait(0) == -1);
}
