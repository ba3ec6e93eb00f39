// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/packet_watch.hpp"

#include "cage/gatekeeper/names.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;

namespace {

using Packet = std::vector<std::uint8_t>;

void append(Packet& packet, const std::string& address) {
    const auto parsed = parse_address(address).value();
    packet.insert(packet.end(), parsed.bytes.begin(), parsed.bytes.begin() + (parsed.v6 ? 16 : 4));
}

Packet v4(std::uint8_t protocol, const std::string& target, const Packet& segment) {
    Packet packet{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, protocol, 0, 0};
    append(packet, "127.0.0.1");
    append(packet, target);
    packet.insert(packet.end(), segment.begin(), segment.end());
    return packet;
}

Packet v6(std::uint8_t protocol, const std::string& target, const Packet& segment) {
    Packet packet{0x60, 0, 0, 0, 0, 20, protocol, 64};
    append(packet, "::1");
    append(packet, target);
    packet.insert(packet.end(), segment.begin(), segment.end());
    return packet;
}

Packet segment(std::uint8_t flags) {
    Packet out{0x30, 0x39, 0x00, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0};
    return out;
}

}  // namespace

TEST_CASE("a SYN is an attempt", "[packet_watch]") {
    const auto seen = parse_packet(v4(6, "1.2.3.4", segment(0x02)));
    REQUIRE(seen);
    CHECK(seen->protocol == Attempt::Protocol::tcp);
    CHECK(endpoint_text(seen->target, seen->port) == "1.2.3.4:80");
    const auto six = parse_packet(v6(6, "2001:db8::5", segment(0xC2)));
    REQUIRE(six);
    CHECK(endpoint_text(six->target, six->port) == "[2001:db8::5]:80");
}

TEST_CASE("a datagram and an echo request are attempts", "[packet_watch]") {
    CHECK(parse_packet(v4(17, "8.8.8.8", {0, 1, 0, 53, 0, 8, 0, 0}))->port == 53);
    CHECK(parse_packet(v4(1, "8.8.8.8", {8, 0}))->protocol == Attempt::Protocol::icmp);
    CHECK(parse_packet(v6(58, "2001:db8::5", {128, 0}))->protocol == Attempt::Protocol::icmp);
}

TEST_CASE("everything else is not", "[packet_watch]") {
    auto fragment = v4(6, "1.2.3.4", segment(0x02));
    fragment[7] = 1;
    auto short_header = v4(6, "1.2.3.4", segment(0x02));
    short_header[0] = 0x44;
    const auto packet = GENERATE_COPY(
        Packet{}, v4(6, "1.2.3.4", segment(0x12)), v4(6, "1.2.3.4", segment(0x14)),
        v4(6, "1.2.3.4", segment(0x10)), v4(6, "127.0.0.1", segment(0x02)),
        v6(6, "::1", segment(0x02)), v4(1, "8.8.8.8", {3, 3}), v4(2, "224.0.0.22", {1}),
        v4(6, "1.2.3.4", {0, 1, 0, 80}), v6(0, "ff02::16", {58, 0}), Packet{0x45, 0, 0}, fragment,
        short_header, Packet{0x60, 0}
    );
    CHECK_FALSE(parse_packet(packet));
}

TEST_CASE("every truncation of a packet is survived", "[packet_watch]") {
    for (const auto& whole :
         {v4(6, "1.2.3.4", segment(0x02)), v6(17, "2001:db8::5", {0, 1, 0, 53, 0, 8, 0, 0})}) {
        const auto expected = parse_packet(whole);
        REQUIRE(expected);
        for (std::size_t size = 0; size <= whole.size(); ++size) {
            const auto attempt = parse_packet(std::span(whole).first(size));
            // Without its IP header there is nothing to tell; with it never anything else.
            if (size < 20) CHECK_FALSE(attempt);
            if (attempt) CHECK(attempt->protocol == expected->protocol);
        }
    }
}

TEST_CASE("wildcard names get addresses as they are asked for", "[names]") {
    NetRule wildcard;
    wildcard.kind = NetRule::Kind::wildcard;
    wildcard.host = "example.org";
    wildcard.port = 443;
    auto plain = wildcard;
    plain.port = 80;
    NetRule exact = wildcard;
    exact.kind = NetRule::Kind::name;
    exact.host = "a.example.org";
    const std::vector<NetRule> rules{exact, wildcard, plain};
    NameTable names(rules, plan_network(rules, {}));

    CHECK(names.matches_wildcard("b.example.org"));
    CHECK_FALSE(names.matches_wildcard("example.org"));
    CHECK_FALSE(names.matches_wildcard("badexample.org"));
    CHECK(names.find("b.example.org") == nullptr);
    REQUIRE(names.allocate("b.example.org"));
    const auto missing = names.missing("b.example.org");
    REQUIRE(missing.size() == 4);
    CHECK(missing[0].spec.address == "198.18.0.2");
    CHECK(missing[0].target.rule == 1);
    for (const auto& item : missing) names.bound(item.spec);
    CHECK(names.missing("b.example.org").empty());
    CHECK(names.name_of(*parse_address("198.18.0.2")) == "b.example.org");
    CHECK(names.listens(*parse_address("198.18.0.2"), 80));
    CHECK_FALSE(names.listens(*parse_address("198.18.0.2"), 81));

    // The name of its own rule lacks only what the wildcard adds.
    CHECK(names.missing("a.example.org").size() == 2);

    for (std::size_t i = 1; i < kMaxWildcardNames; ++i)
        REQUIRE(names.allocate("n" + std::to_string(i) + ".example.org"));
    CHECK_FALSE(names.allocate("one-more.example.org"));
    CHECK(names.allocate("b.example.org"));
}
