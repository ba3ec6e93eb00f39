// SPDX-License-Identifier: Apache-2.0
#include "cage/limits.hpp"

#include "cage/processes.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;

namespace {

constexpr const char* kV2Mount =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kV1Mounts =
    "31 30 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

CgroupPlace choose(
    const std::string& own, const std::string& mounts, bool writable, const std::string& controllers
) {
    return choose_cgroups(
        own, mounts, [&](const std::string&) { return writable; },
        [&](const std::string&) { return controllers; }
    );
}

}  // namespace

TEST_CASE("a delegated v2 subtree with memory and pids is used", "[limits]") {
    const auto place =
        choose("0::/system.slice/volary.service\n", kV2Mount, true, "cpu memory pids\n");
    CHECK(place.backend == LimitsBackend::cgroup_v2);
    CHECK(place.folders.at("memory") == "/sys/fs/cgroup/system.slice/volary.service");
    // The daemon in its own leaf makes the cages' cgroups beside itself.
    const auto leaf = choose("0::/volary/daemon\n", kV2Mount, true, "memory pids");
    CHECK(leaf.folders.at("pids") == "/sys/fs/cgroup/volary");
}

TEST_CASE("owned v1 subtrees of memory and pids are used", "[limits]") {
    const auto place = choose(
        "5:memory:/volary\n4:pids:/volary\n3:cpu,cpuacct:/volary\n0::/\n", kV1Mounts, true, ""
    );
    CHECK(place.backend == LimitsBackend::cgroup_v1);
    CHECK(place.folders.at("memory") == "/sys/fs/cgroup/memory/volary");
    CHECK(place.folders.at("cpu") == "/sys/fs/cgroup/cpu,cpuacct/volary");
}

TEST_CASE("without a subtree of our own it is rlimits and supervision", "[limits]") {
    CHECK(
        choose("0::/user.slice\n", kV2Mount, false, "memory pids").backend == LimitsBackend::rlimits
    );
    CHECK(choose("0::/x\n", kV2Mount, true, "cpuset\n").backend == LimitsBackend::rlimits);
    CHECK(choose("0::/\n", kV2Mount, true, "memory pids").backend == LimitsBackend::rlimits);
    CHECK(choose("5:memory:/\n4:pids:/\n", kV1Mounts, true, "").backend == LimitsBackend::rlimits);
    CHECK(choose("", "", true, "").backend == LimitsBackend::rlimits);
    CHECK(choose("garbage", "a b c\n- - -\n", true, "").backend == LimitsBackend::rlimits);
}

TEST_CASE("a process's state is read behind its name", "[limits]") {
    ProcessState state;
    REQUIRE(parse_stat(
        "42 (a) R 1 (x) S 7 1 2 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 5 1000 250 "
        "18446744073709551615 1\n",
        state
    ));
    CHECK(state.state == 'S');
    CHECK(state.parent == 7);
    CHECK(state.rss_pages == 250);
    CHECK_FALSE(parse_stat("", state));
    CHECK_FALSE(parse_stat("42 (a)", state));
    CHECK_FALSE(parse_stat("42 (a) S x", state));
}

TEST_CASE("root makes a folder below its own cgroup in each tree that limits use", "[limits]") {
    const char* own = "8:pids:/\n4:memory:/a/b\n2:cpuacct:/\n0::/\n";
    const char* mounts =
        "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "2 0 0:2 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        "3 0 0:3 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
        "4 0 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "5 0 0:5 / /tmp rw - tmpfs tmpfs rw\n";
    CHECK(
        cgroup_homes("volary", own, mounts) ==
        std::vector<std::string>{
            "/sys/fs/cgroup/memory/a/b/volary", "/sys/fs/cgroup/pids/volary",
            "/sys/fs/cgroup/unified/volary"
        }
    );
    CHECK(cgroup_homes("volary", own, "").empty());
}
