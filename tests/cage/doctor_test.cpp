// SPDX-License-Identifier: Apache-2.0
#include "cage/doctor.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

using namespace volary::cage;
using Catch::Contains;

namespace {

/// What a host that has everything shows.
DoctorFacts good_host() {
    DoctorFacts facts;
    facts.inside = parse_probe(
        "CapInh 0000000000000000\nCapPrm 0000000000000000\nCapEff 0000000000000000\n"
        "CapAmb 0000000000000000\nNoNewPrivs 1\ndescriptors 0\nroot EROFS\nusr EROFS\n"
        "landlock EACCES\nfirst EACCES\nkcore EACCES\nsysctl EROFS\nsys ENOENT\nmachine-id ENOENT\n"
        "shadow ENOENT\nhostname cage\nprocesses 2\naddress ECONNREFUSED\n"
        "metadata ECONNREFUSED\nname rcode 3\nallowed-name 198.18.0.1\nallowed ok\n"
        "devices lo\nforks 20 EAGAIN\nmount EPERM\nkeyctl EPERM\nuserfaultfd EPERM\n"
        "io_uring EPERM\nuserns EPERM\nclone3 ENOSYS\ntiocsti EPERM\nvsock EAFNOSUPPORT\n"
        "packet EAFNOSUPPORT\nptrace EPERM\ni386 SIGSYS\ndone ok\n"
    );
    facts.notify = facts.call_told = true;
    facts.limits_backend = "cgroup v2";
    facts.memory = "oom";
    facts.lingered = true;
    facts.uid_map = "      1000        998          1";
    facts.uid = 998;
    facts.overlay = "ok";
    facts.bwrap = "bubblewrap 0.8.0";
    facts.bind_by_fd = true;
    facts.kernel = "Linux 6.18";
    facts.landlock_abi = 7;
    return facts;
}

const DoctorCheck& find(const std::vector<DoctorCheck>& checks, const std::string& name) {
    const auto found = std::ranges::find(checks, name, &DoctorCheck::name);
    REQUIRE(found != checks.end());
    return *found;
}

}  // namespace

TEST_CASE("a host that has everything is all ok", "[doctor]") {
    const auto checks = judge(good_host());
    for (const auto& one : checks) {
        INFO(one.name << ": " << one.detail);
        CHECK(one.verdict == "ok");
        CHECK(one.fix.empty());
    }
    CHECK(checks.size() > 35);
    CHECK(is_sound(checks));
}

TEST_CASE(
    "a back end that cannot be used is missing, one that lets through is broken", "[doctor]"
) {
    auto facts = good_host();
    facts.others = {{"native", {}, facts.inside}, {"podman", "podman is not installed", {}}};
    auto checks = judge(facts);
    CHECK(find(checks, "backend native").verdict == "ok");
    CHECK(find(checks, "backend podman").verdict == "missing");
    CHECK(find(checks, "backend podman").detail == "podman is not installed");
    CHECK(is_sound(checks));

    facts.others[0].inside["mount"] = "ok";
    checks = judge(facts);
    CHECK(find(checks, "backend native").verdict == "broken");
    CHECK(find(checks, "backend native").detail.find("mount(2)") != std::string::npos);
    CHECK_FALSE(is_sound(checks));
}

TEST_CASE("each attack that succeeds is broken", "[doctor]") {
    for (const auto& [key, result] : good_host().inside) {
        // What the control is asked for, and the end of the list, prove nothing by themselves.
        if (key == "done" || key == "allowed-name") continue;
        auto facts = good_host();
        facts.inside[key] = key == "allowed" ? "ECONNREFUSED" : "ok";
        INFO(key);
        CHECK_FALSE(is_sound(judge(facts)));
        facts.inside.erase(key);
        CHECK_FALSE(is_sound(judge(facts)));
    }
}

TEST_CASE("what a host lacks is missing, with what to do, and not broken", "[doctor]") {
    auto facts = good_host();
    facts.landlock_abi = 0;
    facts.notify = facts.call_told = false;
    facts.limits_backend = "rlimits + supervision";
    facts.overlay = "EPERM";
    facts.bind_by_fd = false;
    const auto checks = judge(facts);
    CHECK(is_sound(checks));
    CHECK(std::ranges::count(checks, "missing", &DoctorCheck::verdict) == 5);
    for (const auto& one : checks) CHECK((one.verdict == "missing") == !one.fix.empty());
}

TEST_CASE("what was seen outside of the cage counts too", "[doctor]") {
    auto facts = good_host();
    facts.call_told = false;
    CHECK(find(judge(facts), "refused calls are told").verdict == "broken");
    facts = good_host();
    facts.memory = "ok";
    CHECK(find(judge(facts), "more memory than allowed").verdict == "broken");
    facts = good_host();
    facts.left = 1;
    CHECK(find(judge(facts), "outliving the cage").verdict == "broken");
    facts = good_host();
    facts.uid_map = "1000 0 1";
    CHECK(find(judge(facts), "the cage's user on the host").verdict == "broken");
}

TEST_CASE("the checks are a table and a JSON object", "[doctor]") {
    const std::vector<DoctorCheck> checks{
        {"a", "host", "ok", "fine", ""}, {"b", "notify", "missing", "\"no\"", "buy one"}
    };
    CHECK_THAT(doctor_text(checks), Contains("to have it: buy one"));
    CHECK_THAT(doctor_text(checks), Contains("1 ok, 1 missing, 0 broken"));
    CHECK(
        doctor_json(checks) ==
        R"({"checks":[{"name":"a","layer":"host","verdict":"ok","detail":"fine","fix":""},)"
        R"({"name":"b","layer":"notify","verdict":"missing","detail":"\"no\"","fix":"buy one"}],"ok":true})"
    );
}
