// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/event.hpp"
#include "base/ids.hpp"
#include "base/json.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "base/policy.hpp"
#include "base/secret.hpp"

#include <algorithm>
#include <cerrno>
#include <set>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;

TEST_CASE("an error reads outermost context first", "[base]") {
    Error error(Errc::io, "open \"/x\": Permission denied");
    error.add_context("starting agent scraper");
    CHECK(error.what() == std::string("starting agent scraper: open \"/x\": Permission denied"));
    CHECK(error.message() == "open \"/x\": Permission denied");
}

TEST_CASE("throw_errno names the call, its subject and the reason", "[base]") {
    errno = EACCES;
    CHECK_THROWS_WITH(throw_errno("open", "/etc/x"), "open \"/etc/x\": Permission denied");
}

TEST_CASE("a refusal exits with 4 and a missing thing with 3", "[base]") {
    CHECK(exit_code(Errc::denied) == 4);
    CHECK(exit_code(Errc::conflict) == 4);
    CHECK(exit_code(Errc::not_found) == 3);
    CHECK(exit_code(Errc::invalid) == 2);
    CHECK(exit_code(Errc::internal) == 1);
}

TEST_CASE("ids of one millisecond are distinct and sort in order of making", "[base]") {
    const ManualClock clock;
    std::vector<std::string> made;
    for (int i = 0; i < 10'000; ++i) made.push_back(SessionId::make(clock).str());
    CHECK(std::is_sorted(made.begin(), made.end()));
    CHECK(std::set<std::string>(made.begin(), made.end()).size() == made.size());
    CHECK(is_id(made.front(), "ses"));
}

TEST_CASE("only a well-formed id is taken for one", "[base]") {
    CHECK_FALSE(is_id("ses_", "ses"));
    CHECK_FALSE(is_id("run_01JD0000000000000000000000", "ses"));
    CHECK_FALSE(is_id("ses_01JD00000000000000000000/.", "ses"));
    CHECK_FALSE(is_id("ses_01jd0000000000000000000000", "ses"));
}

TEST_CASE("a time is told in UTC with milliseconds", "[base]") {
    CHECK(format_rfc3339(0) == "1970-01-01T00:00:00.000Z");
    CHECK(format_rfc3339(1'700'000'000'125) == "2023-11-14T22:13:20.125Z");
    CHECK(format_rfc3339(-1) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("malformed UTF-8 is found and mended", "[base]") {
    CHECK(is_utf8("grün €  \xF0\x9F\x90\xA6"));
    CHECK_FALSE(is_utf8("\xC0\xAF"));          // overlong
    CHECK_FALSE(is_utf8("\xED\xA0\x80"));      // surrogate
    CHECK_FALSE(is_utf8("\xF4\x90\x80\x80"));  // beyond U+10FFFF
    CHECK_FALSE(is_utf8("\xE2\x82"));          // cut
    CHECK(to_valid_utf8("a\xFFz") == "a\xEF\xBF\xBDz");
}

TEST_CASE("a UTF-8 prefix never cuts a character", "[base]") {
    CHECK(utf8_prefix("a€b", 1) == "a");
    CHECK(utf8_prefix("a€b", 2) == "a");
    CHECK(utf8_prefix("a€b", 4) == "a€");
    CHECK(utf8_prefix("ab", 9) == "ab");
}

TEST_CASE("the start of a character whose end has not come is told", "[base]") {
    const std::string euro = "\xe2\x82\xac";
    CHECK(utf8_unfinished_tail("") == 0);
    CHECK(utf8_unfinished_tail("abc") == 0);
    CHECK(utf8_unfinished_tail(euro) == 0);
    CHECK(utf8_unfinished_tail("a" + euro.substr(0, 1)) == 1);
    CHECK(utf8_unfinished_tail("a" + euro.substr(0, 2)) == 2);
    CHECK(utf8_unfinished_tail("\xf0\x9f\x98") == 3);
    // Bytes that no character begins with are not worth waiting for.
    CHECK(utf8_unfinished_tail("\x80\x80\x80\x80") == 0);
}

TEST_CASE("base64url and hex agree with RFC 4648", "[base]") {
    const auto bytes = [](std::string_view s) { return std::as_bytes(std::span(s)); };
    CHECK(to_base64url(bytes("")).empty());
    CHECK(to_base64url(bytes("f")) == "Zg");
    CHECK(to_base64url(bytes("foobar")) == "Zm9vYmFy");
    CHECK(to_base64url(bytes("\xFB\xFF")) == "-_8");
    CHECK(to_hex(bytes("\x01\xAB")) == "01ab");
}

TEST_CASE("random tokens have the stated length and differ", "[base]") {
    CHECK(random_token(32).size() == 43);
    CHECK(random_token(32) != random_token(32));
}

TEST_CASE("JSON text survives quotes, controls and malformed bytes", "[base]") {
    CHECK(json_quote("a\"b\\c\n\x01") == "\"a\\\"b\\\\c\\n\\u0001\"");
    const std::string odd("x\0y\xFF", 4);
    CHECK(Json::parse(json_quote(odd)) == std::string("x\0y\xEF\xBF\xBD", 6));
}

TEST_CASE("foreign JSON is bounded in size and depth", "[base]") {
    CHECK(parse_json("{\"a\":1}").has_value());
    CHECK_FALSE(parse_json("{").has_value());
    CHECK_FALSE(parse_json("{\"a\":\"\xFF\"}").has_value());
    CHECK_FALSE(parse_json(std::string(65, '[') + std::string(65, ']')).has_value());
    CHECK_FALSE(parse_json("[1,2,3]", {.bytes = 3}).has_value());
    CHECK(parse_json(R"(["[[[[", "\"[["])", {.depth = 1}).has_value());
}

TEST_CASE("Fields tells every problem at once", "[base]") {
    const auto doc = Json::parse(R"({"text":7,"extra":1,"limit":"x"})");
    Fields fields(doc, "body");
    fields.string("text");
    fields.string("session");
    fields.optional_integer("limit");
    try {
        fields.done();
        FAIL("must throw");
    } catch (const Error& error) {
        CHECK(error.code() == Errc::invalid);
        CHECK(
            error.details() ==
            std::vector<std::string>{
                "body.text: must be a string, not number", "body.session: required string",
                "body.limit: must be an integer, not string", "body.extra: unknown member"
            }
        );
    }
}

TEST_CASE("a log line is one line of JSON or of words", "[base]") {
    using namespace volary::log;
    CHECK(
        render(Level::info, "cage started", {{"cage", "cage_1"}}, Format::json, "T") ==
        R"({"at":"T","level":"info","cage":"cage_1","message":"cage started"})"
    );
    CHECK(
        render(Level::warning, "gone", {{"why", "a b\n"}}, Format::human, "T") ==
        "T warning gone why=\"a b\\n\""
    );
}

TEST_CASE("a secret compares without being shown", "[base]") {
    Secret secret("hunter2");
    CHECK(secret.matches("hunter2"));
    CHECK_FALSE(secret.matches("hunter3"));
    const Secret moved(std::move(secret));
    CHECK(moved.reveal() == "hunter2");
}

TEST_CASE("an event is rendered with its body as it is", "[base]") {
    const Event event{SessionId("ses_1"), 3, 5, "plan.updated", "daemon", RunId(), R"({"a":[1]})"};
    CHECK(
        event_json(event) == R"({"session":"ses_1","seq":3,"at":5,"kind":"plan.updated",)"
                             R"("actor":"daemon","run":null,"body":{"a":[1]}})"
    );
}

TEST_CASE("a wildcard covers names below it and nothing else", "[base]") {
    const NetRule rule{.kind = NetRule::Kind::wildcard, .host = "bandcamp.com"};
    CHECK(matches_name(rule, "artist.bandcamp.com"));
    CHECK(matches_name(rule, "a.b.bandcamp.com"));
    CHECK_FALSE(matches_name(rule, "bandcamp.com"));
    CHECK_FALSE(matches_name(rule, "evilbandcamp.com"));
    CHECK_FALSE(matches_name(rule, ".bandcamp.com"));
}
