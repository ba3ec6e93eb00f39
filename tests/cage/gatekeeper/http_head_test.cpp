// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/http_head.hpp"

#include <catch2/catch.hpp>

using namespace volary::cage;
using State = HttpHeadResult::State;

namespace {

HttpHeadResult with(const std::string& fields) {
    return parse_http_head("POST /p HTTP/1.1\r\n" + fields + "\r\n");
}

std::string chunked_end(const std::string& body, const std::string& after, std::size_t step) {
    BodyScanner scanner(BodyFraming::chunked, 0);
    const auto stream = body + after;
    std::size_t used = 0;
    for (std::size_t at = 0; at < stream.size() && scanner.state() == BodyScanner::State::more;
         at += step)
        used += scanner.feed(std::string_view(stream).substr(at, step));
    if (scanner.state() == BodyScanner::State::malformed) return "malformed";
    if (scanner.state() == BodyScanner::State::more) return "more";
    return stream.substr(used);
}

}  // namespace

TEST_CASE("a head is read as far as it must be judged", "[http_head]") {
    const std::string head =
        "GET /a?b HTTP/1.1\r\nHost: Shop.Example:8080\r\nAccept: \t*/*\r\n\r\nmore";
    const auto result = parse_http_head(head);
    REQUIRE(result.state == State::done);
    CHECK(result.head.method == "GET");
    CHECK(result.head.target == "/a?b");
    CHECK(result.head.host == "shop.example");
    CHECK(result.head.port == 8080);
    CHECK(result.head.framing == BodyFraming::none);
    CHECK(result.head.size == head.size() - 4);
}

TEST_CASE("a head that has not ended is waited for, within bounds", "[http_head]") {
    const std::string head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (std::size_t i = 0; i < head.size(); ++i)
        REQUIRE(parse_http_head(head.substr(0, i)).state == State::more);
    CHECK(parse_http_head(std::string(kMaxHttpHead, 'a')).state == State::malformed);
}

TEST_CASE("bodies are framed by length or chunks", "[http_head]") {
    CHECK(with("Host: a\r\nContent-Length: 12\r\n").head.content_length == 12);
    CHECK(with("Host: a\r\nTransfer-Encoding: Chunked\r\n").head.framing == BodyFraming::chunked);
    CHECK(with("Host: a\r\nContent-Length: 0\r\n").head.framing == BodyFraming::none);
}

TEST_CASE("an IPv6 Host keeps its brackets", "[http_head]") {
    const auto result = with("Host: [2001:db8::1]:80\r\n");
    CHECK(result.head.host == "[2001:db8::1]");
    CHECK(result.head.port == 80);
}

TEST_CASE("what two readers could read differently is no head", "[http_head]") {
    const auto fields = GENERATE(
        as<std::string>{}, "", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: \r\n",
        "Host: a b\r\n", "Host: a,b\r\n", "Host: user@a\r\n", "Host: a:\r\n", "Host: a:99999\r\n",
        "Host: a/b\r\n", "Host : a\r\n", " Host: a\r\n", "X: y\r\n Host: a\r\n", "Host: a\r\nX\r\n",
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: +1\r\n", "Host: a\r\nContent-Length: 1, 1\r\n",
        "Host: a\r\nContent-Length: 99999999999999999999\r\n",
        "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nX: a\nHost: b\r\n", "Host: a\r\nX: a\rb\r\n", std::string("Host: a\0b\r\n", 11),
        "Host: a\r\nUpgrade: h2c\r\n", "Host: a\r\nUpgrade: websocket\r\n",
        "Host: a\r\nHTTP2-Settings: x\r\n"
    );
    const auto result = with(fields);
    CHECK(result.state == State::malformed);
    CHECK(std::string(result.problem) != "");
}

TEST_CASE("only origin-form requests of HTTP/1 are requests", "[http_head]") {
    const auto line = GENERATE(
        as<std::string>{}, "GET http://a/ HTTP/1.1", "CONNECT a:443 HTTP/1.1", "PRI * HTTP/2.0",
        "GET * HTTP/1.1", "GET / HTTP/1.2", "GET / http/1.1", "GET /", "GET  / HTTP/1.1",
        "GET / a HTTP/1.1", "G(T / HTTP/1.1", "", "GET /\x7f HTTP/1.1", "GET @evil.example HTTP/1.1"
    );
    CHECK(parse_http_head(line + "\r\nHost: a\r\n\r\n").state == State::malformed);
    CHECK(parse_http_head("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").state == State::done);
    CHECK(parse_http_head("GET / HTTP/1.0\r\nHost: a\r\n\r\n").state == State::done);
}

TEST_CASE("the end of a chunked body is found in any pieces", "[http_head]") {
    const auto step = GENERATE(as<std::size_t>{}, 1, 2, 3, 1000);
    CHECK(chunked_end("3\r\nabc\r\n0\r\n\r\n", "NEXT", step).size() <= 4);
    CHECK(chunked_end("A;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\n\r\n", "", step).empty());
    CHECK(chunked_end("0\r\n\r\n", "", step).empty());
    CHECK(chunked_end("5\r\nabc", "", step) == "more");
    const auto bad = GENERATE(
        as<std::string>{}, "\r\n", "g\r\n", " 3\r\nabc\r\n", "3\nabc\r\n", "3\r\nabcd\r\n",
        "-1\r\n", "0x3\r\nabc", "3;\n\r\n", "FFFFFFFFFFFFFFFFF\r\n", "0\r\nT: v\n\r\n", "0\r\n\rx"
    );
    CHECK(chunked_end(bad, "", step) == "malformed");
}

TEST_CASE("a body of a known length ends there", "[http_head]") {
    BodyScanner scanner(BodyFraming::length, 5);
    CHECK(scanner.feed("abc") == 3);
    CHECK(scanner.feed("deNEXT") == 2);
    CHECK(scanner.state() == BodyScanner::State::done);
    CHECK(scanner.feed("x") == 0);
}

TEST_CASE("HTTP is told from other protocols whose client speaks first", "[http_head]") {
    const auto http = GENERATE(
        "G", "GET", "GET ", "GET /", "GET / HTTP/1.1\r\n", "get /x HTTP/1.0\r\n",
        "M-SEARCH * HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\n", "  GET / HTTP/1.1\r\n",
        "GET http://x/\r\n", "EHLO na"
    );
    CHECK(looks_like_http(http));
    const auto other = GENERATE(
        "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "EHLO name\r\n", "PING\r\n", "*1\r\n$4\r\nPING\r\n",
        "\x80\x2e\x01", "{\"json\": 1}", "(x"
    );
    CHECK_FALSE(looks_like_http(other));
}
