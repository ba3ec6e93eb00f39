// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/proxy_headers.hpp"
#include "tests/daemon/http/support.hpp"

#include <fcntl.h>
#include <memory>

using namespace volary;
using namespace volary::http;
using Catch::Contains;
using Catch::EndsWith;
using Catch::StartsWith;

namespace {

/// A server that passes "/ports/t/TOKEN/..." to a socket pair; the test plays the other end.
struct Fixture : ServerFixture {
    explicit Fixture(ServerOptions with = {}) : ServerFixture(std::move(with)) {
        RouteOptions left;
        left.body = BodyReading::left;
        left.access = RouteAccess::capability;
        router.mount("/ports/t", [this](Request& request) { return answer(&request); }, left);
        listen();
    }
    ~Fixture() { stop(); }

    asio::awaitable<Response> answer(Request* request) {
        if (request->params.at(0) != "good") throw Error(Errc::not_found, "no such port");
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        Response response;
        response.upstream = std::make_shared<Upstream>();
        response.upstream->kind = kind;
        response.upstream->connection = UniqueFd(ends[0]);
        response.upstream->host = "localhost:3000";
        response.upstream->prefix = "/ports/t/good";
        response.upstream->target = request->params.at(1) + "?" + request->query;
        response.upstream->headers.add("Content-Security-Policy", "sandbox allow-scripts");
        app = std::make_unique<RawClient>(loop, UniqueFd(ends[1]));
        co_return response;
    }

    /// What the app was asked, up to `until`.
    std::string asked(std::string_view until = "\r\n\r\n") {
        run_until(loop, [this] { return app != nullptr; });
        return app->read_until([&](const std::string& text) {
            return text.find(until) != std::string::npos;
        });
    }

    Upstream::Kind kind = Upstream::Kind::http;
    std::unique_ptr<RawClient> app;
};

std::string get(std::string_view more = {}, std::string_view path = "/ports/t/good/a?b=1") {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: v.example\r\n" + std::string(more) +
           "\r\n";
}

std::string lines(std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += "line " + std::to_string(i) + "\n";
    return out;
}

}  // namespace

TEST_CASE("a request goes to the upstream without the operator's secrets", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(
        get("Cookie: volary_session=secret\r\nAuthorization: Bearer secret\r\n"
            "Cf-Access-Jwt-Assertion: secret\r\nX-Forwarded-User: secret\r\n"
            "Referer: http://v.example/ports/t/secret\r\nOrigin: null\r\n"
            "Connection: close, X-Mine\r\nX-Mine: secret\r\nTE: trailers\r\n"
            "Upgrade: h2c\r\nHTTP2-Settings: secret\r\nAccept: text/html\r\n"
            "X-CSRF-Token: kept\r\n")
    );
    const auto asked = t.asked();
    CHECK_THAT(asked, StartsWith("GET /a?b=1 HTTP/1.1\r\nHost: localhost:3000\r\n"));
    CHECK_THAT(asked, !Contains("secret") && !Contains("TE:") && !Contains("Upgrade"));
    CHECK_THAT(asked, Contains("\r\nConnection: close\r\n") && Contains("\r\nAccept: text/html"));
    CHECK_THAT(asked, Contains("\r\nOrigin: http://localhost:3000\r\n"));
    CHECK_THAT(asked, Contains("\r\nX-Forwarded-Host: v.example\r\n"));
    CHECK_THAT(asked, Contains("\r\nX-CSRF-Token: kept\r\n"));
    t.app->send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    CHECK_THAT(client.read_all(), EndsWith("\r\n\r\nhi"));
}

TEST_CASE("an answer keeps what describes its body and loses what rules the origin", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(get());
    t.asked();
    t.app->send(
        "HTTP/1.1 302 Found\r\nContent-Type: text/html\r\nETag: \"1\"\r\n"
        "Set-Cookie: volary_session=x\r\nClear-Site-Data: \"*\"\r\n"
        "Service-Worker-Allowed: /\r\nStrict-Transport-Security: max-age=1\r\n"
        "Alt-Svc: h3=\":1\"\r\nAccess-Control-Allow-Origin: *\r\nNEL: {}\r\n"
        "Content-Security-Policy: default-src *\r\nLink: </x>; rel=preconnect\r\n"
        "X-Accel-Redirect: /internal\r\nRefresh: 0; url=http://evil.example\r\n"
        "Connection: keep-alive\r\nLocation: /next?q\r\nContent-Length: 0\r\n\r\n"
    );
    const auto answer = client.read_all();
    CHECK_THAT(answer, StartsWith("HTTP/1.1 302 Found\r\n"));
    CHECK_THAT(answer, Contains("\r\nContent-Type: text/html\r\n") && Contains("\r\nETag: \"1\""));
    CHECK_THAT(answer, Contains("\r\nLocation: /ports/t/good/next?q\r\n"));
    CHECK_THAT(answer, Contains("\r\nContent-Security-Policy: sandbox allow-scripts\r\n"));
    CHECK_THAT(answer, Contains("\r\nConnection: close\r\n"));
    for (const char* gone :
         {"volary_session", "Clear-Site", "Service-Worker", "Strict-Transport", "Alt-Svc",
          "Access-Control", "NEL", "default-src", "Link:", "X-Accel", "Refresh", "keep-alive"})
        CHECK_THAT(answer, !Contains(gone));
}

TEST_CASE("where a Location leads outside", "[proxy]") {
    Upstream upstream;
    upstream.host = "localhost:3000";
    upstream.prefix = "/p";
    CHECK(outside_location("/a", upstream) == "/p/a");
    CHECK(outside_location("http://localhost:3000/a?b", upstream) == "/p/a?b");
    CHECK(outside_location("http://127.0.0.1:3000", upstream) == "/p/");
    CHECK(outside_location("http://localhost:3000?x", upstream) == "/p/?x");
    CHECK(outside_location("next", upstream) == "next");
    CHECK(outside_location("//evil.example/", upstream) == "//evil.example/");
    CHECK(outside_location("http://localhost:30001/", upstream) == "http://localhost:30001/");
}

TEST_CASE("bodies stream both ways, however they are framed", "[proxy]") {
    Fixture t;
    const auto body = lines(40'000);
    auto client = t.connect();
    const bool chunked = GENERATE(false, true);
    const std::string head = "POST /ports/t/good/up HTTP/1.1\r\nHost: v.example\r\n";
    if (chunked) {
        client.send(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        CHECK_THAT(t.asked("hello\r\n"), Contains("Transfer-Encoding: chunked"));
        client.send("3\r\nend\r\n0\r\nX-Trailer: x\r\n\r\n");
        CHECK_THAT(t.asked("0\r\n\r\n"), EndsWith("5\r\nhello\r\n3\r\nend\r\n0\r\n\r\n"));
    } else {
        client.send(head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n");
        client.send(body);
        CHECK_THAT(t.asked(body.substr(body.size() - 30)), EndsWith("\r\n\r\n" + body));
    }
    t.app->send("HTTP/1.1 200 OK\r\n\r\n" + body);
    t.app->close();
    const auto answer = client.read_all();
    CHECK_THAT(answer, Contains("\r\nTransfer-Encoding: chunked\r\n"));
    CHECK_THAT(answer, EndsWith("\r\n0\r\n\r\n"));
    CHECK(answer.size() > body.size());
}

TEST_CASE("an event is passed on before the next one comes", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(get());
    t.asked();
    t.app->send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    const auto first = client.read_until([](const std::string& text) {
        return text.find("data: 1") != std::string::npos;
    });
    CHECK_THAT(first, !Contains("data: 2"));
    t.app->send("data: 2\n\n");
    client.read_until([](const std::string& text) {
        return text.find("data: 2") != std::string::npos;
    });
    // The reader goes, and the app hears of it though it says nothing.
    client.close();
    run_until(t.loop, [&] { return t.app->ended(); });
}

TEST_CASE("100-continue is said when somebody reads the body", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(
        "PUT /ports/t/good/x HTTP/1.1\r\nHost: v.example\r\nExpect: 100-continue\r\n"
        "Content-Length: 2\r\n\r\n"
    );
    CHECK_THAT(t.asked(), !Contains("Expect"));
    client.read_until([](const std::string& text) { return text.ends_with("\r\n\r\n"); });
    client.send("ok");
    CHECK_THAT(t.asked("ok"), EndsWith("\r\n\r\nok"));
    t.app->send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    CHECK_THAT(client.read_all(), StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No"));
}

TEST_CASE("what an upstream may not say ends in one 502", "[proxy]") {
    Fixture t;
    const std::string said = GENERATE(
        as<std::string>{}, "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + std::string(80'000, 'x'),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "", "HTTP/1.1 20",
        "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"
    );
    auto client = t.connect();
    client.send(get());
    t.asked();
    t.app->send(said);
    t.app->close();
    const auto answer = client.read_all();
    CAPTURE(said.substr(0, 60));
    CHECK_THAT(answer, StartsWith("HTTP/1.1 502 Bad Gateway\r\n"));
    CHECK_THAT(answer, Contains("the program in the cage") && !Contains("xxxx"));
}

TEST_CASE("an answer that ends too early ends too early outside", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(get());
    t.asked();
    t.app->send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    t.app->close();
    const auto answer = client.read_all();
    CHECK_THAT(answer, Contains("hello") && !Contains("\r\n0\r\n\r\n"));
}

TEST_CASE("two answers in one do not reach the next request", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(get() + get("X-Second: 1\r\n"));
    t.asked();
    t.app->send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nevil");
    const auto answer = client.read_all();
    CHECK_THAT(answer, EndsWith("\r\n\r\nok"));
    CHECK_THAT(answer, !Contains("evil"));
    CHECK_THAT(t.asked(), !Contains("X-Second"));
}

TEST_CASE("requests that could be read in two ways never reach the upstream", "[proxy]") {
    Fixture t;
    const std::string more = GENERATE(
        as<std::string>{}, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n", "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: +3\r\n", "Host: other\r\n"
    );
    auto client = t.connect();
    client.send("POST /ports/t/good/x HTTP/1.1\r\nHost: v.example\r\n" + more + "\r\nabc");
    CHECK_THAT(client.read_all(), StartsWith("HTTP/1.1 40") || StartsWith("HTTP/1.1 501"));
    CHECK(t.app == nullptr);
}

TEST_CASE("a malformed chunk of the body is the client's fault", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(
        "POST /ports/t/good/x HTTP/1.1\r\nHost: v.example\r\n"
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    );
    CHECK_THAT(client.read_all(), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
}

TEST_CASE("a WebSocket handshake that the upstream accepts becomes bytes", "[proxy]") {
    Fixture t;
    auto client = t.connect();
    client.send(
        get("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nOrigin: null\r\n"
            "Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n")
    );
    const auto asked = t.asked();
    CHECK_THAT(
        asked, Contains("\r\nUpgrade: websocket\r\n") && Contains("\r\nConnection: Upgrade")
    );
    CHECK_THAT(asked, Contains("\r\nSec-WebSocket-Key: abc\r\n"));
    t.app->send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: def\r\nSet-Cookie: a=b\r\n\r\nfirst"
    );
    const auto head =
        client.read_until([](const std::string& text) { return text.ends_with("first"); });
    CHECK_THAT(head, Contains("Sec-WebSocket-Accept: def") && !Contains("Set-Cookie"));
    client.send("to the app");
    t.asked("to the app");
    client.end();
    run_until(t.loop, [&] { return t.app->ended(); });
    t.app->send("last");
    t.app->close();
    CHECK_THAT(client.read_all(), EndsWith("last"));
}

TEST_CASE("an upgrade to plain bytes is answered by the daemon itself", "[proxy]") {
    Fixture t;
    t.kind = Upstream::Kind::bytes;
    auto client = t.connect();
    client.send(get("Connection: Upgrade\r\nUpgrade: bytes\r\n") + "early");
    CHECK_THAT(t.asked("early"), Catch::Equals("early"));
    t.app->send("\x01\x02");
    t.app->close();
    CHECK_THAT(client.read_all(), StartsWith("HTTP/1.1 101 ") && EndsWith("\x01\x02"));
}

TEST_CASE("an app that never answers, and a client that never ends its body", "[proxy]") {
    ServerOptions options;
    options.body_deadline = std::chrono::milliseconds(50);
    Fixture t(options);
    auto client = t.connect();
    client.send("POST /ports/t/good/x HTTP/1.1\r\nHost: v.example\r\nContent-Length: 9\r\n\r\nslow"
    );
    t.asked("slow");
    run_until(t.loop, [&] { return client.ended() && t.app->ended(); });
}

TEST_CASE("a client that does not read slows the app and is cut off", "[proxy]") {
    ServerOptions options;
    options.write_deadline = std::chrono::milliseconds(100);
    Fixture t(options);
    auto client = t.connect();
    client.send(get());
    t.asked();
    t.app->send("HTTP/1.1 200 OK\r\n\r\n");
    const std::string piece(65536, 'x');
    std::size_t taken = 0;
    run_until(t.loop, [&] {
        const auto sent = ::send(t.app->fd(), piece.data(), piece.size(), MSG_NOSIGNAL);
        if (sent > 0) taken += static_cast<std::size_t>(sent);
        return sent < 0 && errno != EAGAIN;
    });
    // Socket buffers and a few pieces: nothing grows with what the app would like to send.
    CHECK(taken < (std::size_t{8} << 20U));
}

TEST_CASE("a wrong token is 404, and closing the server ends open exchanges at once", "[proxy]") {
    Fixture t;
    CHECK_THAT(t.ask(get("", "/ports/t/bad/x")), StartsWith("HTTP/1.1 404 "));
    CHECK_THAT(t.ask(get("", "/ports/t/bad")), StartsWith("HTTP/1.1 404 "));
    auto client = t.connect();
    client.send(get());
    t.asked();
    const auto before = std::chrono::steady_clock::now();
    t.stop();
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(2));
    run_until(t.loop, [&] { return t.app->ended(); });
}

TEST_CASE("the token of a capability's path is not for the log", "[proxy]") {
    RouteInfo route{"*", "/ports/t", {}, false};
    Request request;
    request.path = "/ports/t/secret/x";
    request.route = &route;
    CHECK(loggable_path(request) == request.path);
    route.options.access = RouteAccess::capability;
    CHECK(loggable_path(request) == "/ports/t/...");
}
