// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/denial_log.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace std::chrono_literals;

namespace {

Denial attempt(const std::string& what) {
    Denial denial;
    denial.layer = "net";
    denial.what = what;
    return denial;
}

const auto kStart = DenialLog::Time{} + 1h;

}  // namespace

TEST_CASE("a new attempt is told at once, its repetitions later with a count", "[denial]") {
    DenialLog log(CageId("cage_01"));
    const auto first = log.add(attempt("tcp 1.2.3.4:80"), kStart);
    REQUIRE(first.size() == 1);
    CHECK(first[0].cage == CageId("cage_01"));
    CHECK(first[0].count == 1);
    CHECK_FALSE(log.next_flush());
    for (int i = 1; i <= 5; ++i) CHECK(log.add(attempt("tcp 1.2.3.4:80"), kStart + i * 1s).empty());
    CHECK(log.next_flush() == kStart + 10s);
    const auto later = log.flush(kStart + 10s);
    REQUIRE(later.size() == 1);
    CHECK(later[0].count == 5);
    CHECK(log.flush(kStart + 20s).empty());
    CHECK(log.add(attempt("tcp 1.2.3.4:80"), kStart + 30s).size() == 1);
}

TEST_CASE("a scan becomes fifty denials a minute and one summary", "[denial]") {
    DenialLog log(CageId("cage_01"));
    std::size_t told = 0;
    for (int i = 0; i < 1000; ++i)
        told += log.add(attempt("tcp 1.2.3.4:" + std::to_string(i)), kStart + i * 1ms).size();
    CHECK(told == 50);
    REQUIRE(log.next_flush() == kStart + 60s);
    const auto summary = log.flush(kStart + 60s);
    REQUIRE(summary.size() == 1);
    CHECK(summary[0].layer == "limit");
    CHECK(summary[0].count == 950);
    CHECK_FALSE(log.next_flush());
    CHECK(log.add(attempt("tcp 1.2.3.4:1"), kStart + 61s).size() == 1);
}

TEST_CASE("what was only counted is told whole, repetitions or not", "[denial]") {
    DenialLog log(CageId("cage_01"));
    std::uint32_t told = 0;
    const auto take = [&](const std::vector<Denial>& due) {
        for (const auto& denial : due) told += denial.count;
    };
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 1000; ++i)
            take(log.add(attempt("tcp 1.2.3.4:" + std::to_string(i)), kStart + i * 1ms));
    }
    CHECK(told == 50);
    take(log.flush(DenialLog::Time::max() - 1h));
    CHECK(told == 2000);
    CHECK_FALSE(log.next_flush());
}
