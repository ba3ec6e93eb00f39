// SPDX-License-Identifier: Apache-2.0
#include "tests/daemon/http/support.hpp"

#include <boost/asio/steady_timer.hpp>

using namespace volary;
using namespace volary::http;
using Catch::Contains;

namespace {

asio::awaitable<void> fetch(Client* client, ClientRequest request, Response* out) {
    *out = co_await client->request(std::move(request));
}

asio::awaitable<void> fetch_pieces(
    Client* client, ClientRequest request, std::string* pieces, std::size_t stop_after,
    Response* out
) {
    OnBody on_body = [pieces, stop_after](std::string_view piece) {
        pieces->append(piece);
        return pieces->size() < stop_after;
    };
    *out = co_await client->request(std::move(request), std::move(on_body));
}

asio::awaitable<void> say_three(BodyWriter* out) {
    for (const char* text : {"one ", "two ", "three"}) {
        const bool alive = co_await out->write(text);
        if (!alive) co_return;
    }
}

asio::awaitable<Response> never() {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    timer.expires_at(asio::steady_timer::time_point::max());
    co_await timer.async_wait(asio::use_awaitable);
    co_return Response::empty(204);
}

struct Fixture : ServerFixture {
    explicit Fixture(ServerOptions with = {}) : ServerFixture(std::move(with)) {
        router.add("POST", "/api/v1/echo", [](Request& request) {
            const auto more = request.headers.find("X-A").value_or("");
            return Response::text(201, request.body + std::string(more));
        });
        router.add("GET", "/api/v1/host", [](Request& request) {
            return Response::text(200, std::string(request.headers.find("Host").value_or("")));
        });
        router.add("GET", "/api/v1/stream", [](Request&) {
            auto response = Response::empty(200);
            response.stream = [](BodyWriter& out) { return say_three(&out); };
            return response;
        });
        router.add("GET", "/api/v1/never", [](Request&) { return never(); });
        router.add("GET", "/api/v1/large", [](Request&) {
            return Response::text(200, std::string(3U << 20U, 'x'));
        });
        listen();
    }
    Response ask(Client& client, ClientRequest request) {
        Response out;
        run(loop, fetch(&client, std::move(request), &out));
        return out;
    }
};

}  // namespace

TEST_CASE("a client keeps one connection for its requests", "[http]") {
    Fixture t;
    Client client(t.loop.get_executor(), Endpoint::unix_socket(t.path));
    for (int i = 0; i < 3; ++i) {
        const auto answer = t.ask(
            client,
            {.method = "POST", .target = "/api/v1/echo", .headers = {{"X-A", "!"}}, .body = "hi"}
        );
        CHECK(answer.status == 201);
        CHECK(answer.body == "hi!");
        CHECK(answer.headers.find("content-type") == "text/plain; charset=utf-8");
    }
    CHECK(t.server->connections() == 1);
    CHECK(t.ask(client, {.method = "GET", .target = "/api/v1/none"}).status == 404);
    const auto head = t.ask(client, {.method = "HEAD", .target = "/api/v1/host"});
    CHECK(head.status == 200);
    CHECK(head.body.empty());
    CHECK(t.ask(client, {.target = "/api/v1/host"}).body == "localhost");
    CHECK(t.ask(client, {.target = "/api/v1/large"}).body.size() == 3U << 20U);
}

TEST_CASE("a client speaks to TCP by literal and by name", "[http]") {
    Fixture t;
    const auto port = t.server->listen_tcp("127.0.0.1", 0, "loopback");
    const std::string host = GENERATE("127.0.0.1", "localhost");
    Client client(t.loop.get_executor(), Endpoint::tcp(host, port));
    CHECK(t.ask(client, {.target = "/api/v1/host"}).body == host + ":" + std::to_string(port));
}

TEST_CASE("a kept connection that the server closed is opened again", "[http]") {
    ServerOptions options;
    options.idle_deadline = std::chrono::milliseconds(20);
    Fixture t(options);
    Client client(t.loop.get_executor(), Endpoint::unix_socket(t.path));
    CHECK(t.ask(client, {.target = "/api/v1/host"}).status == 200);
    run_until(t.loop, [&] { return t.server->connections() == 0; });
    CHECK(t.ask(client, {.method = "POST", .target = "/api/v1/echo", .body = "x"}).status == 201);
}

TEST_CASE("a streamed body comes in pieces, and the caller may end it", "[http]") {
    Fixture t;
    Client client(t.loop.get_executor(), Endpoint::unix_socket(t.path));
    std::string pieces;
    Response answer;
    run(t.loop, fetch_pieces(&client, {.target = "/api/v1/stream"}, &pieces, 1000, &answer));
    CHECK(pieces == "one two three");
    CHECK(answer.status == 200);
    CHECK(answer.body.empty());

    pieces.clear();
    run(t.loop, fetch_pieces(&client, {.target = "/api/v1/large"}, &pieces, 10, &answer));
    CHECK(pieces.size() < 3U << 20U);
    CHECK(t.ask(client, {.target = "/api/v1/host"}).status == 200);

    // The body of an error is what the caller wants to see as a whole.
    pieces.clear();
    run(t.loop, fetch_pieces(&client, {.target = "/api/v1/none"}, &pieces, 1000, &answer));
    CHECK(pieces.empty());
    CHECK_THAT(answer.body, Contains("not_found"));
}

TEST_CASE("a client's failures name what failed", "[http]") {
    Fixture t;
    Client nobody(t.loop.get_executor(), Endpoint::unix_socket("/nonexistent/operator.sock"));
    CHECK_THROWS_WITH(
        t.ask(nobody, {.target = "/"}),
        "connect \"/nonexistent/operator.sock\": No such file or directory"
    );
    ClientOptions options;
    options.answer_deadline = std::chrono::milliseconds(30);
    options.max_body = 1000;
    Client hasty(t.loop.get_executor(), Endpoint::unix_socket(t.path), options);
    CHECK_THROWS_WITH(
        t.ask(hasty, {.target = "/api/v1/never"}), "GET /api/v1/never: no answer in time"
    );
    CHECK_THROWS_WITH(
        t.ask(hasty, {.target = "/api/v1/large"}), Contains("larger than 1000 bytes")
    );
    CHECK(t.ask(hasty, {.target = "/api/v1/host"}).status == 200);
    CHECK_THROWS_AS(t.ask(hasty, {.target = "/a b"}), Error);
}

TEST_CASE("endpoints are written as unix:PATH or http://HOST:PORT", "[http]") {
    CHECK(Endpoint::parse("unix:/run/x.sock").path == "/run/x.sock");
    CHECK(
        Endpoint::parse("http://models.volary.internal/anthropic").host == "models.volary.internal"
    );
    CHECK(Endpoint::parse("http://127.0.0.1:81").port == 81);
    CHECK(Endpoint::parse("http://[::1]:81").host == "::1");
    CHECK(Endpoint::parse("http://[::1]:81").host_header() == "[::1]:81");
    for (const char* bad :
         {"", "unix:", "http://", "https://x", "http://x:99999", "http://x:", "x:1"})
        CHECK_THROWS_AS(Endpoint::parse(bad), Error);
}
