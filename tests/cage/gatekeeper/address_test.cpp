// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/address.hpp"

#include <catch2/catch.hpp>

using namespace volary::cage;

TEST_CASE("only the plain numeric forms are addresses", "[gatekeeper]") {
    CHECK(parse_address("1.2.3.4")->text() == "1.2.3.4");
    CHECK(parse_address("2001:DB8:0:0::1")->text() == "2001:db8::1");
    const auto bad = GENERATE(
        as<std::string>{}, "", "16909060", "0x01020304", "1.2.3", "1.2.3.04x", "fe80::1%lo",
        "1.2.3.4 ", "[::1]", std::string("1.2.3.4\0", 8)
    );
    CHECK_FALSE(parse_address(bad));
}

TEST_CASE("a block holds its addresses and no others", "[gatekeeper]") {
    const auto block = parse_block("10.20.0.0/14");
    REQUIRE(block);
    CHECK(block->contains(*parse_address("10.23.255.255")));
    CHECK_FALSE(block->contains(*parse_address("10.24.0.0")));
    CHECK_FALSE(block->contains(*parse_address("::ffff:10.20.0.1")));
    CHECK(parse_block("0.0.0.0/0")->contains(*parse_address("8.8.8.8")));
    CHECK(parse_block("2001:db8::/33")->contains(*parse_address("2001:db8:7fff::1")));
    CHECK_FALSE(parse_block("2001:db8::/33")->contains(*parse_address("2001:db8:8000::1")));
    const auto bad = GENERATE("10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8x");
    CHECK_FALSE(parse_block(bad));
}

TEST_CASE("no spelling of an inner address counts as public", "[gatekeeper]") {
    const auto inner = GENERATE(
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.100.100.200", "198.18.0.1", "224.0.0.251", "255.255.255.255", "::", "::1",
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2001::1", "fd00:ec2::254", "fe80::1", "ff02::1", "fec0::1"
    );
    CHECK(is_private(*parse_address(inner)));
}

TEST_CASE("ordinary hosts are public", "[gatekeeper]") {
    const auto host = GENERATE(
        "1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111",
        "2a00:1450:4001::200e"
    );
    CHECK_FALSE(is_private(*parse_address(host)));
}
