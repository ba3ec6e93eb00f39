// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/dns.hpp"

#include <catch2/catch.hpp>

using namespace volary::cage;

namespace {

std::string u16(unsigned value) {
    return {static_cast<char>(value >> 8U), static_cast<char>(value & 0xFFU)};
}

std::string labels(const std::vector<std::string>& parts) {
    std::string out;
    for (const auto& part : parts) out += static_cast<char>(part.size()) + part;
    return out + '\0';
}

std::string header(unsigned flags, unsigned questions, unsigned answers, unsigned additional) {
    return u16(0xBEEF) + u16(flags) + u16(questions) + u16(answers) + u16(0) + u16(additional);
}

std::string question(const std::vector<std::string>& parts, unsigned type = 1) {
    return header(0x0100, 1, 0, 0) + labels(parts) + u16(type) + u16(1);
}

/// The OPT record of an asker, with `options` and this version.
std::string opt(const std::string& options = {}, char version = 0) {
    const std::string ttl{'\0', version, '\x80', '\0'};
    return std::string(1, '\0') + u16(41) + u16(4096) + ttl +
           u16(static_cast<unsigned>(options.size())) + options;
}

DnsParsed parse(const std::string& bytes) {
    return parse_dns({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

int rcode(const DnsParsed& parsed) { return std::get<DnsReply>(parsed).bytes.at(3) & 0xF; }

}  // namespace

TEST_CASE("a question is read, and its letters' case is kept for the echo", "[dns]") {
    const auto parsed = parse(question({"ShOp", "Example"}, 28));
    const auto& query = std::get<DnsQuery>(parsed);
    CHECK(query.name == "shop.example");
    CHECK(query.type == kDnsTypeAaaa);
    CHECK(query.id == 0xBEEF);
    CHECK(query.recursion_desired);
    CHECK_THAT(query.question, Catch::Contains("ShOp"));
}

TEST_CASE("bytes that no name has are spelled out and match nothing", "[dns]") {
    CHECK(std::get<DnsQuery>(parse(question({"a.b", "x"}))).name == "a\\046b.x");
    CHECK(std::get<DnsQuery>(parse(question({std::string("\x00\xff", 2)}))).name == "\\000\\255");
    CHECK(std::get<DnsQuery>(parse(question({}))).name.empty());
}

TEST_CASE("an A answer carries the address and nothing else", "[dns]") {
    const auto query = std::get<DnsQuery>(parse(question({"shop", "example"})));
    const auto answer = answer_dns(query, DnsOutcome::address, parse_address("198.18.0.3"));
    const auto expected = u16(0xBEEF) + u16(0x8180) + u16(1) + u16(1) + u16(0) + u16(0) +
                          labels({"shop", "example"}) + u16(1) + u16(1) + u16(0xC00C) + u16(1) +
                          u16(1) + u16(0) + u16(30) + u16(4) + "\xC6\x12" + std::string(1, '\0') +
                          "\x03";
    CHECK(answer == expected);
}

TEST_CASE("names that are not there are NXDOMAIN, other types are empty", "[dns]") {
    const auto query = std::get<DnsQuery>(parse(question({"x"}, 65)));
    CHECK((answer_dns(query, DnsOutcome::no_name)[3] & 0xF) == 3);
    CHECK((answer_dns(query, DnsOutcome::no_data)[3] & 0xF) == 0);
    CHECK(answer_dns(query, DnsOutcome::no_data).substr(6, 2) == u16(0));
    CHECK((answer_dns(query, DnsOutcome::no_service)[3] & 0xF) == 2);
}

TEST_CASE("EDNS is answered with EDNS, and only then", "[dns]") {
    auto bytes = question({"x"}) + opt(u16(12) + u16(2) + "zz");
    bytes[11] = 1;
    const auto query = std::get<DnsQuery>(parse(bytes));
    CHECK(query.edns);
    CHECK(query.dnssec_ok);
    const auto answer = answer_dns(query, DnsOutcome::no_name);
    CHECK(answer.substr(10, 2) == u16(1));
    CHECK(
        answer.substr(answer.size() - 11) ==
        std::string(1, '\0') + u16(41) + u16(1232) + u16(0) + u16(0x8000) + u16(0)
    );
    const auto plain = std::get<DnsQuery>(parse(question({"x"})));
    CHECK(answer_dns(plain, DnsOutcome::no_name).substr(10, 2) == u16(0));
}

TEST_CASE("an unknown EDNS version is told so", "[dns]") {
    auto bytes = question({"x"}) + opt({}, 1);
    bytes[11] = 1;
    const auto reply = std::get<DnsReply>(parse(bytes)).bytes;
    CHECK((reply[3] & 0xF) == 0);
    CHECK(reply.substr(12, 6) == std::string(1, '\0') + u16(41) + u16(1232) + "\x01");
}

TEST_CASE("answers and stumps get no answer", "[dns]") {
    CHECK(std::holds_alternative<DnsDrop>(parse("")));
    CHECK(std::holds_alternative<DnsDrop>(parse(std::string(11, '\0'))));
    auto answer = question({"x"});
    answer[2] = '\x81';
    CHECK(std::holds_alternative<DnsDrop>(parse(answer)));
}

TEST_CASE("malformed questions are told so", "[dns]") {
    const auto tail = u16(1) + u16(1);
    const auto bad = GENERATE_COPY(
        header(0x0100, 0, 0, 0), header(0x0100, 2, 0, 0) + labels({"x"}) + tail,
        header(0x0100, 1, 1, 0) + labels({"x"}) + tail,
        header(0x0300, 1, 0, 0) + labels({"x"}) + tail,
        header(0x0100, 1, 0, 0) + u16(0xC00C) + tail,                           // pointer
        header(0x0100, 1, 0, 0) + "\x40" + std::string(64, 'a') + '\0' + tail,  // long label
        header(0x0100, 1, 0, 0) + "\x05zz", header(0x0100, 1, 0, 0) + labels({"x"}) + u16(1),
        header(0x0100, 1, 0, 0) + labels(std::vector<std::string>(128, "ab")) + tail,
        question({"x"}) + "more", header(0x0100, 1, 0, 1) + labels({"x"}) + tail,
        header(0x0100, 1, 0, 2) + labels({"x"}) + tail + opt() + opt()
    );
    CHECK(rcode(parse(bad)) == 1);
}

TEST_CASE("other operations and classes are refused", "[dns]") {
    auto update = question({"x"});
    update[2] = '\x28';
    CHECK(rcode(parse(update)) == 4);
    auto chaos = question({"version", "bind"}, 16);
    chaos.back() = 3;
    CHECK(rcode(parse(chaos)) == 5);
}

TEST_CASE("messages come out of a stream whole, in any pieces", "[dns]") {
    const auto stream = DnsFrames::frame("first") + DnsFrames::frame("second");
    DnsFrames frames;
    std::vector<std::string> got;
    for (const char byte : stream) {
        REQUIRE(frames.feed({&byte, 1}));
        while (auto message = frames.next()) got.push_back(*message);
    }
    CHECK(got == std::vector<std::string>{"first", "second"});
    CHECK_FALSE(DnsFrames().feed(u16(0)));
    CHECK_FALSE(DnsFrames().feed(u16(kMaxDnsMessage + 1)));
}
