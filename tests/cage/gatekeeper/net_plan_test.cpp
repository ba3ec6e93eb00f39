// SPDX-License-Identifier: Apache-2.0
#include "cage/net_plan.hpp"

#include "base/error.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;

namespace {

NetRule rule(NetRule::Kind kind, std::string host, std::uint16_t port) {
    NetRule made;
    made.kind = kind;
    made.host = std::move(host);
    made.port = port;
    made.text = made.host + ":" + std::to_string(port);
    return made;
}

bool has(const NetPlan& plan, const std::string& address, std::uint16_t port) {
    return std::ranges::count(plan.sockets, SocketSpec{SocketSpec::Kind::listen, address, port}) ==
           1;
}

}  // namespace

TEST_CASE("every cage has a name server and its internal names", "[gatekeeper]") {
    const auto plan = plan_network({}, {"volary.internal", "models.volary.internal"});
    REQUIRE(plan.sockets.size() == 6);
    CHECK(plan.sockets[0] == SocketSpec{SocketSpec::Kind::dns_udp, "127.0.0.53", 53});
    CHECK(plan.sockets[1] == SocketSpec{SocketSpec::Kind::dns_tcp, "127.0.0.53", 53});
    CHECK(has(plan, "198.18.0.1", 80));
    CHECK(has(plan, "fd76:6f6c:6172:7900::1", 80));
    CHECK(has(plan, "198.18.0.2", 80));
    CHECK(plan.targets.size() == plan.sockets.size());
    CHECK(plan.targets[2].kind == SocketTarget::Kind::internal);
    CHECK(plan.targets[2].name == "volary.internal");
}

TEST_CASE("a name keeps one fake address for all its ports", "[gatekeeper]") {
    const auto plan = plan_network(
        {rule(NetRule::Kind::name, "shop.example", 443), rule(NetRule::Kind::name, "b.example", 80),
         rule(NetRule::Kind::name, "shop.example", 80),
         rule(NetRule::Kind::host, "host.volary", 11434),
         rule(NetRule::Kind::name, "shop.example", 443)},
        {}
    );
    CHECK(plan.names.size() == 3);
    CHECK(has(plan, "198.18.0.1", 443));
    CHECK(has(plan, "198.18.0.1", 80));
    CHECK(has(plan, "198.18.0.2", 80));
    CHECK(has(plan, "198.18.0.3", 11434));
    CHECK(plan.sockets.size() == 2 + 2 * 4);
    CHECK(plan.targets[2].rule == 0);
}

TEST_CASE("addresses bind themselves, blocks bind a wildcard, wildcards wait", "[gatekeeper]") {
    const auto plan = plan_network(
        {rule(NetRule::Kind::address, "93.184.216.34", 80),
         rule(NetRule::Kind::address, "2606:4700:0::1111", 443),
         rule(NetRule::Kind::cidr, "10.0.0.0/8", 5432), rule(NetRule::Kind::cidr, "2001::/16", 22),
         rule(NetRule::Kind::wildcard, "example.org", 443)},
        {}
    );
    CHECK(has(plan, "93.184.216.34", 80));
    CHECK(has(plan, "2606:4700::1111", 443));
    CHECK(has(plan, "0.0.0.0", 5432));
    CHECK(has(plan, "::", 22));
    CHECK(plan.names.empty());
    CHECK(plan.sockets.size() == 2 + 4);
}

TEST_CASE("a rule that cannot be planned is named", "[gatekeeper]") {
    const auto bad = GENERATE(
        rule(NetRule::Kind::name, "a.example", 0), rule(NetRule::Kind::address, "1.2.3", 80),
        rule(NetRule::Kind::address, "::ffff:1.2.3.4", 80),
        rule(NetRule::Kind::address, "0.0.0.0", 80), rule(NetRule::Kind::cidr, "10.0.0.1/8", 80)
    );
    CHECK_THROWS_WITH(plan_network({bad}, {}), Catch::Contains(bad.text));
}

TEST_CASE("fake addresses count on over the byte", "[gatekeeper]") {
    CHECK(fake_addresses("x", 255).fake_v4 == "198.18.1.0");
    CHECK(fake_addresses("x", 255).fake_v6 == "fd76:6f6c:6172:7900::100");
}
