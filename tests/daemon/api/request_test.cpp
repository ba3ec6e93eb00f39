// SPDX-License-Identifier: Apache-2.0
#include "daemon/api/request.hpp"

#include "base/error.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::api;

namespace {

http::Request with_key(std::string key) {
    http::Request request;
    request.method = "POST";
    request.path = "/api/v1/sessions/ses_1/hold";
    request.identity = "uid 0";
    request.body = R"({"a":1})";
    request.headers.add("Idempotency-Key", std::move(key));
    return request;
}

http::Request with_query(std::string query) {
    http::Request request;
    request.query = std::move(query);
    return request;
}

Errc refused(const std::function<void()>& act) {
    try {
        act();
    } catch (const Error& error) {
        return error.code();
    }
    FAIL("nothing was refused");
    return Errc::internal;
}

}  // namespace

TEST_CASE("an act carries who, what and its key", "[api]") {
    const auto mutation = mutation_of(with_key("abc-123"));
    CHECK(mutation.actor == "operator:uid 0");
    CHECK(mutation.route == "POST /api/v1/sessions/ses_1/hold");
    CHECK(mutation.key == "abc-123");
    CHECK(mutation.request == R"({"a":1})");
    CHECK(mutation_of(with_key(std::string(128, 'k'))).key.size() == 128);
}

TEST_CASE("a key that is missing or no printable ASCII is refused by name", "[api]") {
    CHECK_THROWS_WITH(mutation_of({}), Catch::Contains("Idempotency-Key: required"));
    const auto key =
        GENERATE(as<std::string>{}, "", "a b", "a\tb", "k\xc3\xa9", std::string(129, 'k'));
    CAPTURE(key);
    CHECK_THROWS_WITH(mutation_of(with_key(key)), Catch::Contains("1 to 128 printable"));
}

TEST_CASE("a number in the query is whole and within its bounds", "[api]") {
    CHECK(number_of(with_query(""), "limit", 200, 1, 1000) == 200);
    CHECK(number_of(with_query("after=3&limit=17"), "limit", 200, 1, 1000) == 17);
    CHECK(number_of(with_query("limit=1000"), "limit", 200, 1, 1000) == 1000);
    const auto text = GENERATE(
        as<std::string>{}, "", "0", "1001", "-1", "1.5", "x", "7x", "+7", " 7", "0x7",
        "99999999999999999999"
    );
    CAPTURE(text);
    const auto request = with_query("limit=" + text);
    CHECK_THROWS_WITH(
        number_of(request, "limit", 200, 1, 1000),
        Catch::Contains("query.limit") && Catch::Contains("1 to 1000")
    );
    CHECK(refused([&] { number_of(request, "limit", 200, 1, 1000); }) == Errc::invalid);
}

TEST_CASE("a body is one JSON object or refused as such", "[api]") {
    http::Request request;
    CHECK(body_of(request) == Json::object());
    request.body = R"({"text":"hi"})";
    CHECK(body_of(request)["text"] == "hi");
    request.body =
        GENERATE(as<std::string>{}, "[]", "7", "null", "{", R"({"a":1}x)", "{\"a\":\"\xff\"}");
    CAPTURE(request.body);
    CHECK_THROWS_WITH(body_of(request), Catch::StartsWith("body: "));
    CHECK(refused([&] { body_of(request); }) == Errc::invalid);
}

TEST_CASE("a body that is nested too deep is refused", "[api]") {
    http::Request request;
    request.body = R"({"a":)" + std::string(1000, '[') + std::string(1000, ']') + "}";
    CHECK(refused([&] { body_of(request); }) == Errc::invalid);
}

TEST_CASE("what cannot be a session is not found", "[api]") {
    http::Request request;
    request.params = {"ses_01JD0000000000000000000000"};
    CHECK(session_of(request).str() == request.params[0]);
    request.params[0] =
        GENERATE(as<std::string>{}, "", "ses_", "run_01JD0000000000000000000000", "..");
    CHECK(refused([&] { session_of(request); }) == Errc::not_found);
}

TEST_CASE("the client's own name is taken, but not more of it than a word", "[api]") {
    http::Request request;
    CHECK(client_of(request) == "api");
    request.headers.add("X-Volary-Client", "web" + std::string(100, 'x'));
    CHECK(client_of(request).size() == 32);
}
