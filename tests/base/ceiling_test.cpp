// SPDX-License-Identifier: Apache-2.0
#include "base/ceiling.hpp"

#include <catch2/catch.hpp>

namespace volary {
namespace {

using Kind = NetRule::Kind;

NetRule rule(Kind kind, std::string host, std::uint16_t port = 443) {
    NetRule out;
    out.kind = kind;
    out.text = host;
    out.host = std::move(host);
    out.port = port;
    return out;
}

NetRule name(std::string host) { return rule(Kind::name, std::move(host)); }
NetRule below(std::string host) { return rule(Kind::wildcard, std::move(host)); }
NetRule block(std::string host) { return rule(Kind::cidr, std::move(host)); }
NetRule address(std::string host) { return rule(Kind::address, std::move(host)); }

ByteCount mib(std::uint64_t count) { return ByteCount{count << 20U}; }

TEST_CASE("a rule covers the targets that it names and no other", "[base]") {
    CHECK(covers_target(name("a.com"), name("a.com")));
    CHECK_FALSE(covers_target(name("a.com"), name("b.a.com")));
    CHECK_FALSE(covers_target(name("a.com"), rule(Kind::name, "a.com", 80)));
    CHECK(covers_target(below("a.com"), name("b.a.com")));
    CHECK_FALSE(covers_target(below("a.com"), name("a.com")));
    CHECK_FALSE(covers_target(below("a.com"), name("ba.com")));
    CHECK(covers_target(below("a.com"), below("a.com")));
    CHECK(covers_target(below("a.com"), below("b.a.com")));
    CHECK_FALSE(covers_target(below("b.a.com"), below("a.com")));
    CHECK_FALSE(covers_target(name("b.a.com"), below("a.com")));
    CHECK_FALSE(covers_target(below("volary"), rule(Kind::host, "host.volary")));
    CHECK(covers_target(rule(Kind::host, "host.volary"), rule(Kind::host, "host.volary")));
    CHECK_FALSE(covers_target(name("10.0.0.1"), address("10.0.0.1")));
}

TEST_CASE("address blocks lie within each other by their bits", "[base]") {
    CHECK(covers_target(block("10.0.0.0/8"), address("10.1.2.3")));
    CHECK(covers_target(block("10.0.0.0/8"), block("10.1.0.0/16")));
    CHECK_FALSE(covers_target(block("10.1.0.0/16"), block("10.0.0.0/8")));
    CHECK_FALSE(covers_target(block("10.0.0.0/9"), address("10.128.0.1")));
    CHECK(covers_target(block("10.0.0.0/9"), address("10.127.255.255")));
    CHECK(covers_target(block("0.0.0.0/0"), address("8.8.8.8")));
    CHECK(covers_target(address("8.8.8.8"), block("8.8.8.8/32")));
    CHECK_FALSE(covers_target(address("8.8.8.8"), block("8.8.8.0/31")));
    CHECK(covers_target(block("2001:db8::/33"), address("2001:db8:7fff::1")));
    CHECK_FALSE(covers_target(block("2001:db8::/33"), address("2001:db8:8000::1")));
    // Families are apart: no block of one holds an address of the other.
    CHECK_FALSE(covers_target(block("::/0"), address("8.8.8.8")));
    CHECK_FALSE(covers_target(block("0.0.0.0/0"), address("::ffff:8.8.8.8")));
    CHECK_FALSE(covers_target(block("10.0.0.0/x"), address("10.0.0.1")));
    CHECK_FALSE(covers_target(block("10.0.0.0/40"), address("10.0.0.1")));
}

TEST_CASE("a rule covers another that lets no more through", "[base]") {
    auto bound = name("a.com");
    auto asked = name("a.com");
    CHECK(covers(bound, asked));
    asked.allow_private = true;
    CHECK_FALSE(covers(bound, asked));
    bound.allow_private = true;
    CHECK(covers(bound, asked));
    asked.allow_private = false;
    CHECK(covers(bound, asked));

    asked.credential = "key";
    CHECK_FALSE(covers(bound, asked));
    bound.credential = "key";
    CHECK(covers(bound, asked));
    asked.credential.clear();
    // Without the credential it would be another way out, in TLS that nobody reads.
    CHECK_FALSE(covers(bound, asked));
}

TEST_CASE("a rule covers another with the same server name", "[base]") {
    auto bound = name("a.com");
    auto asked = name("a.com");
    asked.sni = "a.com";
    CHECK(covers(bound, asked));
    asked.sni = "b.com";
    CHECK_FALSE(covers(bound, asked));
    bound.sni = "b.com";
    CHECK(covers(bound, asked));
    asked.sni.clear();
    CHECK_FALSE(covers(bound, asked));
    auto wide = below("a.com");
    wide.sni = "a.com";
    CHECK_FALSE(covers(below("a.com"), wide));
    CHECK(covers(wide, wide));
}

TEST_CASE("a rule covers another with no other methods and paths", "[base]") {
    auto bound = rule(Kind::name, "a.com", 80);
    auto asked = bound;
    bound.methods = {"GET", "HEAD"};
    CHECK_FALSE(covers(bound, asked));
    asked.methods = {"HEAD"};
    CHECK(covers(bound, asked));
    asked.methods = {"GET", "POST"};
    CHECK_FALSE(covers(bound, asked));
    asked.methods = {"GET"};

    bound.paths = {"/api/*", "/health"};
    CHECK_FALSE(covers(bound, asked));
    asked.paths = {"/api/v1", "/api/v2/*", "/health"};
    CHECK(covers(bound, asked));
    asked.paths = {"/api*"};
    CHECK_FALSE(covers(bound, asked));
    asked.paths = {"/health*"};
    CHECK_FALSE(covers(bound, asked));
}

TEST_CASE("a default ceiling bounds devices alone", "[base]") {
    CagePolicy policy;
    policy.limits.memory = mib(1U << 20U);
    policy.net = {name("a.com")};
    policy.net[0].allow_private = true;
    policy.net[0].credential = "key";
    policy.seccomp = SeccompProfile::relaxed;
    policy.seccomp_add = {"bpf"};
    policy.backend = CageBackend::native;
    CHECK(exceeding(policy, {}).empty());
    policy.devices = {"/dev/kvm"};
    CHECK(
        exceeding(policy, {}) ==
        std::vector<std::string>{"devices[0]: \"/dev/kvm\": the operator's ceiling allows no device"
        }
    );
}

TEST_CASE("each excess is told with its key and the bound", "[base]") {
    CageCeiling ceiling;
    ceiling.limits.memory = mib(512);
    ceiling.limits.swap = mib(1);
    ceiling.limits.cpu = 1.5;
    ceiling.limits.pids = 64;
    ceiling.limits.wall = std::chrono::minutes(10);
    ceiling.limits.disk = mib(100);
    ceiling.limits.files = 256;
    ceiling.limits.output = mib(1);
    ceiling.net = {below("a.com")};
    ceiling.private_allowed = false;
    ceiling.devices = {"/dev/null"};
    ceiling.relaxed_allowed = false;
    ceiling.seccomp_add = {"bpf"};
    ceiling.backends = {CageBackend::bwrap, CageBackend::native};
    ceiling.credentials.emplace();
    (*ceiling.credentials)["key"] = {name("x.a.com")};

    CagePolicy policy;
    policy.limits.memory = mib(1024);
    policy.limits.swap = mib(2);
    policy.limits.cpu = 2;
    policy.limits.pids = 65;
    policy.limits.wall = std::chrono::hours(1);
    policy.limits.disk = mib(101);
    policy.limits.files = 257;
    policy.limits.output = mib(2);
    policy.net = {name("b.com"), name("x.a.com"), name("y.a.com"), name("x.a.com")};
    policy.net[0].origin = "project.yaml:7";
    policy.net[1].allow_private = true;
    policy.net[2].credential = "key";
    policy.net[3].credential = "other";
    policy.devices = {"/dev/null", "/dev/kvm"};
    policy.seccomp = SeccompProfile::relaxed;
    policy.seccomp_add = {"bpf", "mount"};
    policy.backend = CageBackend::podman;
    CHECK(
        exceeding(policy, ceiling) ==
        std::vector<std::string>{
            "project.yaml:7: net[0]: \"b.com\" is not in the net of the operator's ceiling",
            "net[1]: \"x.a.com\" is private: the operator's ceiling allows no private addresses",
            "net[2]: credential \"key\" is not for \"y.a.com\": the operator's config says where "
            "it may go",
            "net[3]: credential \"other\": the operator's config gives projects no such one",
            "limits.memory: 1G: the operator's ceiling is 512M",
            "limits.swap: 2M: the operator's ceiling is 1M",
            "limits.cpu: 2: the operator's ceiling is 1.5",
            "limits.pids: 65: the operator's ceiling is 64",
            "limits.wall: 1h: the operator's ceiling is 10m",
            "limits.disk: 101M: the operator's ceiling is 100M",
            "limits.files: 257: the operator's ceiling is 256",
            "limits.output: 2M: the operator's ceiling is 1M",
            "seccomp: relaxed: the operator's ceiling allows the default profile only",
            "seccomp.add[1]: \"mount\" is not in the seccomp_add of the operator's ceiling",
            "backend: podman: the operator's ceiling allows bwrap, native",
            "devices[1]: \"/dev/kvm\": the operator's ceiling allows /dev/null",
        }
    );
    policy = {};
    policy.limits = ceiling.limits;
    CHECK(exceeding(policy, ceiling).empty());
}

TEST_CASE("an agent without a cage is allowed or not, nothing else bounds it", "[base]") {
    CagePolicy policy;
    policy.disabled = true;
    policy.devices = {"/dev/kvm"};
    CageCeiling ceiling;
    CHECK(exceeding(policy, ceiling).empty());
    ceiling.disabled_allowed = false;
    CHECK(
        exceeding(policy, ceiling) ==
        std::vector<std::string>{"disabled: the operator's ceiling has no agent without a cage"}
    );
}

TEST_CASE("a limit left open takes the lower of its default and the ceiling", "[base]") {
    CageCeiling ceiling;
    ceiling.limits.memory = mib(512);
    ceiling.limits.pids = 100'000;
    ceiling.limits.wall = std::chrono::hours(1);
    ceiling.limits.swap = mib(1);
    CageLimits limits;
    limits.files = 77;
    fill_limits(limits, ceiling);
    CHECK(limits.memory == mib(512));
    CHECK(limits.pids == default_limits().pids);
    CHECK(limits.disk == default_limits().disk);
    CHECK(limits.files == 77U);
    CHECK(limits.wall == std::chrono::hours(1));
    CHECK_FALSE(limits.swap);
    CHECK_FALSE(limits.cpu);
    CagePolicy policy;
    policy.limits = limits;
    CHECK(exceeding(policy, ceiling).empty());
}

}  // namespace
}  // namespace volary
