// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/router.hpp"

#include "daemon/http/target.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::http;

namespace {

Request make(std::string method, std::string target) {
    Request request;
    request.method = std::move(method);
    request.target = target;
    request.path = target.substr(0, target.find('?'));
    if (target.find('?') != std::string::npos) request.query = target.substr(target.find('?') + 1);
    return request;
}

SyncHandler echo(std::string name) {
    return [name](Request& request) {
        std::string text = name;
        for (const auto& param : request.params) text += "|" + param;
        return Response::text(200, text);
    };
}

std::string ask(const Router& router, std::string method, std::string target) {
    auto request = make(std::move(method), std::move(target));
    const auto response = router.answer(request);
    return std::to_string(response.status) + " " + std::string(response.payload());
}

}  // namespace

TEST_CASE("a path finds its handler and its decoded placeholders", "[http]") {
    Router router;
    router.add("GET", "/api/v1/sessions", echo("list"));
    router.add("GET", "/api/v1/sessions/{id}", echo("one"));
    router.add("GET", "/api/v1/sessions/{id}/events", echo("events"));
    router.add("PATCH", "/api/v1/sessions/{id}/plan/entries/{entry}", echo("edit"));

    CHECK(ask(router, "GET", "/api/v1/sessions?limit=1") == "200 list");
    CHECK(ask(router, "GET", "/api/v1/sessions/ses_1") == "200 one|ses_1");
    CHECK(ask(router, "GET", "/api/v1/sessions/a%20b/events") == "200 events|a b");
    CHECK(ask(router, "PATCH", "/api/v1/sessions/s/plan/entries/3") == "200 edit|s|3");
    CHECK(ask(router, "HEAD", "/api/v1/sessions") == "200 list");
}

TEST_CASE("the API without a version answers as the current one", "[http]") {
    Router router;
    router.add("GET", "/api/v1/status", echo("status"));
    CHECK(ask(router, "GET", "/api/status") == "200 status");
    CHECK(ask(router, "GET", "/api/v2/status").starts_with("404"));
}

TEST_CASE("a fixed segment wins over a placeholder", "[http]") {
    Router router;
    router.add("GET", "/api/v1/x/{id}", echo("any"));
    router.add("GET", "/api/v1/x/me", echo("me"));
    CHECK(ask(router, "GET", "/api/v1/x/me") == "200 me");
    CHECK(ask(router, "GET", "/api/v1/x/you") == "200 any|you");
}

TEST_CASE("a wrong method is told what is possible", "[http]") {
    Router router;
    router.add("GET", "/api/v1/x", echo("get"));
    router.add("POST", "/api/v1/x", echo("post"));
    auto request = make("DELETE", "/api/v1/x");
    const auto response = router.answer(request);
    CHECK(response.status == 405);
    CHECK(response.headers.find("Allow") == "GET, HEAD, POST");
}

TEST_CASE("no path reaches a handler under another path's meaning", "[http]") {
    const auto bad = GENERATE(
        as<std::string>{}, "", "x", "//", "/a//b", "/.", "/..", "/a/../b", "/a/%2e%2e/b", "/a/.%2E",
        "/a%2fb", "/a%5Cb", "/a\\b", "/a%00b", "/a%0ab", "/a%", "/a%4", "/a%zz",
        "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h"
    );
    CAPTURE(bad);
    CHECK_FALSE(split_path(bad));
    Router router;
    CHECK(ask(router, "GET", bad).starts_with("400"));
}

TEST_CASE("an unknown path under /api is a JSON 404, elsewhere a page", "[http]") {
    Router router;
    router.pages([](std::string_view path) -> std::optional<StaticFile> {
        if (path != "/app js") return std::nullopt;
        return StaticFile{"text/javascript", "plain", "packed", "\"e1\"", "max-age=9"};
    });
    auto unknown = make("GET", "/api/v1/nothing");
    const auto missing = router.answer(unknown);
    CHECK(missing.status == 404);
    CHECK(missing.media == Media::json);
    CHECK(ask(router, "GET", "/nothing").starts_with("404"));
    CHECK(ask(router, "POST", "/app%20js").starts_with("405"));
    CHECK(ask(router, "GET", "/app%20js") == "200 plain");

    auto packed = make("GET", "/app%20js");
    packed.headers.add("Accept-Encoding", "br, gzip");
    const auto answer = router.answer(packed);
    CHECK(answer.payload() == "packed");
    CHECK(answer.headers.find("content-encoding") == "gzip");
    CHECK(answer.headers.find("ETag") == "\"e1\"");

    packed.headers.add("If-None-Match", "\"e0\", \"e1\"");
    const auto known = router.answer(packed);
    CHECK(known.status == 304);
    CHECK(known.payload().empty());
}

TEST_CASE("an error of a handler has its status and shape, anything else is internal", "[http]") {
    Router router;
    router.add("GET", "/api/v1/bad", SyncHandler([](Request&) -> Response {
                   throw Error(Errc::invalid, "body has 1 problem")
                       .with_details({"body.text: required string"});
               }));
    router.add("GET", "/api/v1/bug", SyncHandler([](Request&) -> Response {
                   throw std::runtime_error("secret path");
               }));
    CHECK(
        ask(router, "GET", "/api/v1/bad") ==
        R"(400 {"error":{"code":"invalid","message":"body has 1 problem","details":["body.text: required string"]}})"
    );
    CHECK(
        ask(router, "GET", "/api/v1/bug") ==
        R"(500 {"error":{"code":"internal","message":"internal error","details":[]}})"
    );
}

TEST_CASE("a second handler for one route is refused", "[http]") {
    Router router;
    router.add("GET", "/api/v1/x/{a}", echo("1"));
    CHECK_THROWS_AS(router.add("GET", "/api/v1/x/{b}", echo("2")), Error);
    REQUIRE(router.routes().size() == 1);
    CHECK(router.routes()[0].pattern == "/api/v1/x/{a}");
}

TEST_CASE("query values are decoded, the first one wins", "[http]") {
    auto request = make("GET", "/x?after=12&name=a%26b+c&flag&after=13&bad=%");
    CHECK(request.query_value("after") == "12");
    CHECK(request.query_value("name") == "a&b c");
    CHECK(request.query_value("flag") == "");
    CHECK_FALSE(request.query_value("bad"));
    CHECK_FALSE(request.query_value("none"));
}

TEST_CASE("headers compare without case and carry no line break", "[http]") {
    Headers headers{{"Host", "a"}, {"X-One", "1"}, {"x-one", "2"}};
    CHECK(headers.find("HOST") == "a");
    CHECK(headers.count("X-ONE") == 2);
    headers.set("X-One", "3");
    CHECK(headers.count("x-one") == 1);
    CHECK(headers.find("x-one") == "3");
    CHECK_THROWS_AS(headers.add("X", "a\r\nSet-Cookie: b"), Error);
    CHECK_THROWS_AS(headers.add("X y", "a"), Error);
    CHECK_THROWS_AS(headers.add("", "a"), Error);
    CHECK(has_token("keep-alive, Upgrade", "upgrade"));
    CHECK_FALSE(has_token("upgraded", "upgrade"));
}
