// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/client_hello.hpp"

#include "tests/cage/gatekeeper/hello.hpp"

#include <catch2/catch.hpp>

using namespace volary::cage;
using namespace volary::cage::test;
using State = ClientHelloParser::State;

namespace {

State feed(ClientHelloParser& parser, const std::string& bytes) {
    return parser.feed({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

}  // namespace

TEST_CASE("the server name is read, lower case", "[client_hello]") {
    ClientHelloParser parser;
    CHECK(feed(parser, hello("Shop.Example")) == State::done);
    CHECK(parser.server_name() == "shop.example");
    CHECK_FALSE(parser.encrypted_hello());
}

TEST_CASE("a hello split over segments and records is the same hello", "[client_hello]") {
    const auto record = GENERATE(as<std::size_t>{}, 1, 3, 7, 100, 16384);
    const auto segment = GENERATE(as<std::size_t>{}, 1, 5, 64, 100'000);
    const auto bytes = records(hello_message(server_name("shop.example")), record);
    ClientHelloParser parser;
    for (std::size_t at = 0; at < bytes.size(); at += segment) {
        REQUIRE(parser.state() == State::more);
        feed(parser, bytes.substr(at, segment));
    }
    CHECK(parser.state() == State::done);
    CHECK(parser.server_name() == "shop.example");
}

TEST_CASE("a hello without a name has none", "[client_hello]") {
    ClientHelloParser parser;
    CHECK(feed(parser, records(hello_message(extension(43, "\x02\x03\x04")))) == State::done);
    CHECK(parser.server_name().empty());
}

TEST_CASE("an encrypted hello is seen", "[client_hello]") {
    ClientHelloParser parser;
    const auto extensions = extension(0xFE0D, "grease") + server_name("shop.example");
    CHECK(feed(parser, records(hello_message(extensions))) == State::done);
    CHECK(parser.encrypted_hello());
}

TEST_CASE("what follows the hello's record is not looked at", "[client_hello]") {
    ClientHelloParser parser;
    CHECK(feed(parser, hello("shop.example") + "\x17\x03\x03 early data") == State::done);
}

TEST_CASE("what two readers could read differently is refused", "[client_hello]") {
    const auto twice = server_name("shop.example") + server_name("evil.example");
    const auto list = sized(2, "a") + std::string(1, '\0') + sized(2, "b");
    const auto two = extension(0, sized(2, std::string(1, '\0') + list));
    const auto message = hello_message(server_name("shop.example"));
    const auto bad = GENERATE_COPY(
        records(hello_message(twice)), records(hello_message(two)),
        records(message + "\x01"),                                         // a second message
        records("\x02" + message.substr(1)),                               // another message
        records(message).replace(0, 1, "\x17"),                            // another record
        records(message).replace(1, 1, "\x02"),                            // SSL 2
        std::string("\x16\x03\x01\x00\x00", 5),                            // an empty record
        std::string("\x16\x03\x01\x40\x01", 5),                            // a large record
        records(std::string("\x01\x01\x00\x00", 4)),                       // a large hello
        records(message.substr(0, 50)) + "\x15\x03\x01" + sized(2, "xx"),  // an alert between
        records(hello_message(server_name(std::string("shop\0.example", 13)))),
        records(hello_message(server_name(""))), records(hello_message(std::string(1, '\0'))),
        records(hello_message(server_name("shop.example") + "x"))
    );
    ClientHelloParser parser;
    CHECK(feed(parser, bad) == State::malformed);
    CHECK(std::string(parser.problem()) != "");
}

TEST_CASE("an endless hello ends", "[client_hello]") {
    ClientHelloParser parser;
    std::string first(4, '\0');
    first = "\x01" + std::string("\x00\x7f\xff", 3);
    std::size_t fed = 0;
    feed(parser, records(first));
    while (parser.state() == State::more && fed < 1'000'000) {
        feed(parser, records("x"));
        fed += 6;
    }
    CHECK(parser.state() == State::malformed);
    CHECK(fed <= kMaxClientHelloWire);
}
