// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "base/json.hpp"
#include "daemon/http/upstream.hpp"
#include "tests/daemon/api/bench.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::api;

namespace {

struct Ports {
    Bench bench;
    http::Router router;
    Api api{bench.services(), router};
    std::string session = bench.post("hello").session.str();

    http::Response ask(
        const std::string& method, const std::string& path, const std::string& body = {},
        http::Headers headers = {}
    ) {
        http::Request request;
        request.method = method;
        request.path = request.target = path;
        request.headers = std::move(headers);
        request.body = body;
        request.identity = "uid 0";
        request.peer.kind = http::Peer::Kind::unix_socket;
        const auto match = router.match(request);
        REQUIRE(match.result == http::RouteMatch::Result::found);
        const auto& handler = std::get<http::AsyncHandler>(*match.handler);
        try {
            return bench.loop.run(handler(request));
        } catch (const Error& error) {
            return http::Response::error(error);
        }
    }
};

}  // namespace

TEST_CASE_METHOD(Ports, "a session without cages publishes nothing", "[api]") {
    const auto base = "/api/v1/sessions/" + session + "/ports";
    CHECK(ask("GET", base).body == R"({"ports":[]})");
    CHECK(ask("POST", base + "/web/open", "{}").status == 404);
    CHECK(ask("GET", "/ports/" + session + "/primary/web").status == 404);
    CHECK(ask("GET", "/api/v1/sessions/ses_none/ports").status == 404);
    CHECK(ask("POST", base + "/web/open", R"({"agnet":"x"})").status == 400);
}

TEST_CASE_METHOD(Ports, "bytes need the upgrade", "[api]") {
    const auto path = "/api/v1/sessions/" + session + "/ports/web/tcp";
    CHECK(ask("GET", path).status == 426);
    CHECK(ask("GET", path, {}, {{"Upgrade", "volary-bytes"}}).status == 404);
}

TEST_CASE_METHOD(Ports, "a token leads to its cage and ends with it", "[api]") {
    CHECK(ask("GET", "/ports/t/" + std::string(43, 'A') + "/").status == 404);
    const auto issue = [this] {
        return "/ports/t/" + bench.port_tickets.issue({"uid 0", CageId("cage_x"), "web", 1}).token;
    };
    const auto url = issue();
    const auto bare = ask("GET", url);
    CHECK(bare.status == 308);
    CHECK(bare.headers.find("Location") == url + "/");
    CHECK(ask("GET", url + "/w.js", {}, {{"Service-Worker", "script"}}).status == 403);

    const http::Headers asked{
        {"Origin", "null"}, {"Host", "h"}, {"Access-Control-Request-Method", "PUT"}
    };
    const auto preflight = ask("OPTIONS", url + "/x", {}, asked);
    CHECK(preflight.status == 204);
    CHECK(preflight.headers.find("Access-Control-Allow-Origin") == "null");
    CHECK(preflight.headers.find("Access-Control-Allow-Methods") == "PUT");

    const auto gone = ask("GET", url + "/");
    CHECK(gone.status == 404);
    CHECK(gone.upstream == nullptr);
    // The cage has ended, and with it every token of it.
    CHECK(ask("OPTIONS", url + "/x", {}, asked).status == 404);
}
