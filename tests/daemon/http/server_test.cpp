// SPDX-License-Identifier: Apache-2.0
#include "tests/daemon/http/support.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <boost/asio/steady_timer.hpp>

using namespace volary;
using namespace volary::http;
using Catch::Contains;
using Catch::StartsWith;

namespace {

asio::awaitable<Response> wait_and_answer(std::string text) {
    asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(1));
    co_await timer.async_wait(asio::use_awaitable);
    co_return Response::text(200, std::move(text));
}

asio::awaitable<void> count_to(BodyWriter* out, int last, int* written) {
    for (int i = 1; i <= last; ++i) {
        const bool alive = co_await out->write("data: " + std::to_string(i) + "\n\n");
        if (!alive) co_return;
        *written = i;
    }
}

asio::awaitable<std::optional<Response>> later(std::optional<Response> answer) {
    asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(1));
    co_await timer.async_wait(asio::use_awaitable);
    co_return answer;
}

struct Fixture : ServerFixture {
    explicit Fixture(ServerOptions with = {}, Guard guard = {})
        : ServerFixture(std::move(with), std::move(guard)) {
        router.add("GET", "/api/v1/hello", [](Request&) { return Response::json(200, "{}"); });
        router.add("GET", "/api/v1/slow/{text}", [](Request& request) {
            return wait_and_answer(request.params.at(0));
        });
        router.add("POST", "/api/v1/echo", [](Request& request) {
            return Response::text(200, request.body);
        });
        RouteOptions tiny;
        tiny.max_body = 8;
        router.add(
            "POST", "/api/v1/tiny",
            [](Request& request) { return Response::text(200, request.body); }, tiny
        );
        router.add("GET", "/api/v1/uid", [](Request& request) {
            return Response::text(
                200, std::to_string(request.peer.uid) + " " + request.peer.listener
            );
        });
        router.add("GET", "/api/v1/large", [](Request&) {
            return Response::text(200, std::string(8U << 20U, 'x'));
        });
        router.add("GET", "/api/v1/stream", [this](Request&) {
            auto response = Response::empty(200);
            response.media = Media::event_stream;
            response.stream = [this](BodyWriter& out) { return count_to(&out, last, &written); };
            return response;
        });
        listen();
    }
    ~Fixture() { stop(); }
    int last = 3;
    int written = 0;
};

std::string get(std::string_view path, std::string_view more = {}) {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more) +
           "\r\n";
}

}  // namespace

TEST_CASE("a connection answers one request after another", "[http]") {
    Fixture t;
    auto client = t.connect();
    for (int i = 0; i < 3; ++i) {
        client.send(get("/api/v1/hello"));
        const auto answer = client.read_answer();
        CHECK_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
        CHECK_THAT(answer, Contains("\r\nContent-Type: application/json\r\n"));
        CHECK_THAT(answer, Contains("\r\nDate: ") && Contains(" GMT\r\n"));
        CHECK_THAT(answer, Catch::EndsWith("\r\n\r\n{}"));
    }
    CHECK(t.server->connections() == 1);
}

TEST_CASE("a request may come byte by byte, or many in one piece", "[http]") {
    Fixture t;
    auto slow = t.connect();
    for (const char c : "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc") {
        if (c != '\0') slow.send(std::string(1, c));
    }
    CHECK_THAT(slow.read_answer(), Catch::EndsWith("abc"));

    auto piped = t.connect();
    std::string all;
    for (int i = 0; i < 40; ++i)
        all += get("/api/v1/slow/" + std::to_string(i)) + get("/api/v1/hello");
    piped.send(all);
    for (int i = 0; i < 40; ++i) {
        CHECK_THAT(piped.read_answer(), Catch::EndsWith("\r\n\r\n" + std::to_string(i)));
        CHECK_THAT(piped.read_answer(), Catch::EndsWith("{}"));
    }
}

TEST_CASE("chunked bodies are joined and their trailers ignored", "[http]") {
    Fixture t;
    const auto answer = t.ask(
        "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Identity: root\r\n\r\n"
    );
    CHECK_THAT(answer, Catch::EndsWith("abcdefg"));
}

TEST_CASE("malformed and ambiguous requests are refused and end the connection", "[http]") {
    struct Case {
        const char* what;
        std::string request;
        int status;
    };
    const std::string post = "POST /api/v1/echo HTTP/1.1\r\n";
    const auto c = GENERATE_COPY(
        as<Case>{}, Case{"garbage", "\x16\x03\x01\x02\r\n\r\n", 400},
        Case{"no Host", "GET /api/v1/hello HTTP/1.1\r\n\r\n", 400},
        Case{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        Case{"folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400},
        Case{
            "both lengths",
            post + "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400
        },
        Case{
            "both, other order",
            post + "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", 400
        },
        Case{
            "two equal lengths",
            post + "Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400
        },
        Case{"list of lengths", post + "Host: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400},
        Case{"signed length", post + "Host: a\r\nContent-Length: +3\r\n\r\nabc", 400},
        Case{"unknown coding", post + "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        Case{
            "coding in 1.0",
            "POST /api/v1/echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400
        },
        Case{"space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        Case{"bare LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
        Case{"NUL in a value", std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29), 400},
        Case{"HTTP/2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        Case{"absolute target", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        Case{"dot segments", "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        Case{"bad chunk", post + "Host: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400}
    );
    CAPTURE(c.what);
    Fixture t;
    auto client = t.connect();
    client.send(c.request);
    const auto answer = client.read_answer();
    CHECK_THAT(answer, StartsWith("HTTP/1.1 " + std::to_string(c.status) + " "));
    CHECK_THAT(answer, Contains(R"({"error":{"code":")"));
}

TEST_CASE("a header beyond the limit is 431, a body beyond the route's is 413", "[http]") {
    Fixture t;
    auto large = t.connect();
    large.send(get("/api/v1/hello", "X: " + std::string(20'000, 'a') + "\r\n"));
    CHECK_THAT(large.read_answer(), StartsWith("HTTP/1.1 431 "));

    const std::string head = "POST /api/v1/tiny HTTP/1.1\r\nHost: x\r\n";
    CHECK_THAT(t.ask(head + "Content-Length: 8\r\n\r\n12345678"), Catch::EndsWith("12345678"));
    const auto declared = t.ask(head + "Content-Length: 9\r\n\r\n123456789");
    CHECK_THAT(declared, StartsWith("HTTP/1.1 413 ") && Contains(R"("code":"too_large")"));
    const auto chunked =
        t.ask(head + "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n");
    CHECK_THAT(chunked, StartsWith("HTTP/1.1 413 "));
}

TEST_CASE("a refused sender of a large body still reads the answer", "[http]") {
    Fixture t;
    auto client = t.connect();
    client.send("POST /api/v1/tiny HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n");
    client.send(std::string(2'000'000, 'b'));
    CHECK_THAT(client.read_answer(), StartsWith("HTTP/1.1 413 "));
    client.end();
    client.read_all();
    CHECK(client.ended());
}

TEST_CASE("HEAD has the length but no body, and a wrong method is told", "[http]") {
    Fixture t;
    auto client = t.connect();
    client.send("HEAD /api/v1/hello HTTP/1.1\r\nHost: x\r\n\r\n" + get("/api/v1/hello"));
    const auto both =
        client.read_until([](const std::string& text) { return text.ends_with("{}"); });
    CHECK_THAT(both, Contains("Content-Length: 2\r\n"));
    CHECK(both.find("{}") == both.size() - 2);

    const auto wrong = t.ask("DELETE /api/v1/hello HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK_THAT(wrong, StartsWith("HTTP/1.1 405 ") && Contains("\r\nAllow: GET, HEAD\r\n"));
    CHECK_THAT(t.ask(get("/api/v1/none")), StartsWith("HTTP/1.1 404 "));
}

TEST_CASE("100-continue is answered before the body, other expectations are refused", "[http]") {
    Fixture t;
    auto client = t.connect();
    client.send(
        "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    client.read_until([](const std::string& text) {
        return text == "HTTP/1.1 100 Continue\r\n\r\n";
    });
    client.send("ok");
    client.read_until([](const std::string& text) { return text.ends_with("\r\n\r\nok"); });

    const auto refused = t.ask(
        "POST /api/v1/tiny HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nExpect: "
        "100-continue\r\n\r\n"
    );
    CHECK_THAT(refused, StartsWith("HTTP/1.1 413 "));
    CHECK_THAT(t.ask(get("/api/v1/hello", "Expect: tea\r\n")), StartsWith("HTTP/1.1 417 "));
}

TEST_CASE("HTTP/1.0 and Connection: close end the connection after the answer", "[http]") {
    Fixture t;
    auto old = t.connect();
    old.send("GET /api/v1/hello HTTP/1.0\r\n\r\n");
    CHECK_THAT(old.read_all(), Contains("Connection: close\r\n") && Catch::EndsWith("{}"));
    auto close = t.connect();
    close.send(get("/api/v1/hello", "Connection: close\r\n"));
    CHECK_THAT(close.read_all(), Catch::EndsWith("{}"));
}

TEST_CASE("a peer that ends its side still gets its answer", "[http]") {
    Fixture t;
    auto client = t.connect();
    client.send(get("/api/v1/slow/late"));
    client.end();
    CHECK_THAT(client.read_all(), Catch::EndsWith("late"));
    run_until(t.loop, [&] { return t.server->connections() == 0; });
}

TEST_CASE("a peer that vanishes anywhere leaves nothing behind", "[http]") {
    Fixture t;
    const auto text = GENERATE(
        as<std::string>{}, "", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n",
        "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        "GET /api/v1/slow/x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /api/v1/large HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    {
        auto client = t.connect();
        client.send(text);
    }
    auto probe = t.connect();
    probe.send(get("/api/v1/hello"));
    probe.read_answer();
    run_until(t.loop, [&] { return t.server->connections() == 1; });
}

TEST_CASE("slow headers, slow bodies and idle connections meet their deadlines", "[http]") {
    ServerOptions options;
    options.header_deadline = std::chrono::milliseconds(40);
    options.body_deadline = std::chrono::milliseconds(40);
    options.idle_deadline = std::chrono::milliseconds(40);
    Fixture t(options);
    auto silent = t.connect();
    auto loris = t.connect();
    loris.send("GET /api/v1/hello HTTP/1.1\r\nX: ");
    auto body = t.connect();
    body.send("POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    auto idle = t.connect();
    idle.send(get("/api/v1/hello"));

    CHECK(silent.read_all().empty());
    CHECK_THAT(loris.read_answer(), StartsWith("HTTP/1.1 408 "));
    CHECK_THAT(body.read_answer(), StartsWith("HTTP/1.1 408 "));
    CHECK_THAT(idle.read_all(), Catch::EndsWith("{}"));
}

TEST_CASE("a reader that stops reading is cut off at the write deadline", "[http]") {
    ServerOptions options;
    options.write_deadline = std::chrono::milliseconds(40);
    Fixture t(options);
    auto client = t.connect();
    client.send(get("/api/v1/large"));
    run_until(t.loop, [&] { return t.server->connections() == 1; });
    run_until(t.loop, [&] { return t.server->connections() == 0; });
}

TEST_CASE("a large answer arrives whole through a small pipe", "[http]") {
    Fixture t;
    const auto answer = t.ask(get("/api/v1/large"));
    CHECK(answer.size() > (8U << 20U));
    CHECK(answer.ends_with("xxxx"));
}

TEST_CASE("a stream is chunked, and the connection goes on after it", "[http]") {
    Fixture t;
    auto client = t.connect();
    client.send(get("/api/v1/stream"));
    const auto text =
        client.read_until([](const std::string& all) { return all.ends_with("0\r\n\r\n"); });
    CHECK_THAT(text, Contains("Transfer-Encoding: chunked\r\n"));
    CHECK_THAT(text, Contains("Content-Type: text/event-stream\r\n"));
    CHECK_THAT(text, Contains("9\r\ndata: 1\n\n\r\n") && Contains("data: 3\n\n"));
    client.send(get("/api/v1/hello"));
    client.read_until([](const std::string& all) { return all.ends_with("{}"); });
}

TEST_CASE("a stream waits for its reader and ends when the reader goes", "[http]") {
    Fixture t;
    t.last = 10'000'000;
    auto client = t.connect();
    client.send(get("/api/v1/stream"));
    int before = -1;
    // The writer stands still once the pipe is full: two rounds without progress.
    run_until(t.loop, [&] { return t.written > 0 && before == std::exchange(before, t.written); });
    CHECK(t.written < t.last);
    client.close();
    run_until(t.loop, [&] { return t.server->connections() == 0; });
}

TEST_CASE("the guard sees every request and its refusal reads no body", "[http]") {
    std::vector<std::string> seen;
    auto guard = [&seen](Request& request) -> Verdict {
        seen.push_back(request.path + (request.route != nullptr ? " routed" : ""));
        if (request.headers.find("X-Later"))
            return later(
                request.headers.find("X-Later") == "no"
                    ? std::optional(Response::error(401, Errc::denied, "later no"))
                    : std::nullopt
            );
        if (request.headers.find("X-No")) return Response::error(403, Errc::denied, "no");
        request.identity = "somebody";
        return Proceed{};
    };
    Fixture t({}, guard);
    CHECK_THAT(t.ask(get("/api/v1/hello")), StartsWith("HTTP/1.1 200 "));
    CHECK_THAT(t.ask(get("/nothing")), StartsWith("HTTP/1.1 404 "));
    CHECK_THAT(t.ask(get("/api/v1/hello", "X-No: 1\r\n")), StartsWith("HTTP/1.1 403 "));
    CHECK_THAT(t.ask(get("/api/v1/hello", "X-Later: no\r\n")), StartsWith("HTTP/1.1 401 "));
    CHECK_THAT(t.ask(get("/api/v1/hello", "X-Later: yes\r\n")), StartsWith("HTTP/1.1 200 "));
    CHECK_THAT(
        t.ask("POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nX-No: 1\r\nContent-Length: 5\r\n\r\n"),
        StartsWith("HTTP/1.1 403 ") && Contains("Connection: close")
    );
    CHECK_THAT(
        t.ask("POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nX-Later: y\r\nContent-Length: 2\r\n\r\nhi"),
        Catch::EndsWith("hi")
    );
    CHECK(seen[0] == "/api/v1/hello routed");
    CHECK(seen[1] == "/nothing");
}

TEST_CASE("common headers stand in every answer, refusals included", "[http]") {
    ServerOptions options;
    options.headers.add("X-Content-Type-Options", "nosniff");
    Fixture t(options);
    for (const auto& request : {get("/api/v1/hello"), get("/x"), std::string("bad\r\n\r\n")})
        CHECK_THAT(t.ask(request), Contains("\r\nX-Content-Type-Options: nosniff\r\n"));
}

TEST_CASE("more connections than the limit are told so", "[http]") {
    ServerOptions options;
    options.max_connections = 1;
    Fixture t(options);
    auto first = t.connect();
    first.send(get("/api/v1/hello"));
    first.read_answer();
    auto second = t.connect();
    CHECK_THAT(second.read_all(), StartsWith("HTTP/1.1 503 ") && Catch::EndsWith("}   "));
    first.send(get("/api/v1/hello"));
    CHECK_THAT(first.read_answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_CASE("a unix socket tells the peer's uid and has exactly its mode", "[http]") {
    Fixture t;
    CHECK_THAT(
        t.ask(get("/api/v1/uid")), Catch::EndsWith(std::to_string(::getuid()) + " operator")
    );
    struct stat found{};
    REQUIRE(::stat(t.path.c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
}

TEST_CASE("a socket that answers is not taken over, a dead one is", "[http]") {
    Fixture t;
    Server second(t.loop.get_executor(), t.router, {});
    CHECK_THROWS_WITH(
        second.listen_unix(t.path, 0600, "operator"), Contains("another process answers there")
    );
    const auto file = t.directory + "/file";
    UniqueFd(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK_THROWS_WITH(second.listen_unix(file, 0600, "x"), Contains("no socket"));
    CHECK_THROWS_WITH(
        second.listen_unix(t.directory + "/none/x.sock", 0600, "x"),
        Contains("No such file or directory")
    );

    const auto stale = t.directory + "/stale.sock";
    {
        const UniqueFd left(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, stale.c_str(), stale.size() + 1);
        REQUIRE(::bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    second.listen_unix(stale, 0660, "operator");
    RawClient client(t.loop, stale);
    client.send(get("/api/v1/hello"));
    CHECK_THAT(client.read_answer(), StartsWith("HTTP/1.1 200 "));
    run(t.loop, second.close());
    CHECK_FALSE(std::filesystem::exists(stale));
}

TEST_CASE("TCP listens on a literal and tells the port that it got", "[http]") {
    Fixture t;
    const auto port = t.server->listen_tcp("127.0.0.1", 0, "loopback");
    CHECK(port > 0);
    CHECK_THROWS_WITH(
        t.server->listen_tcp("127.0.0.1", port, "x"),
        Contains("127.0.0.1:" + std::to_string(port)) && Contains("Address already in use")
    );
    CHECK_THROWS_WITH(t.server->listen_tcp("localhost", 0, "x"), Contains("not an IP address"));
}

TEST_CASE("a connection that somebody else accepted is served with its peer", "[http]") {
    Fixture t;
    t.router.add("GET", "/api/v1/cage", [](Request& request) {
        return Response::text(200, request.peer.cage + " " + request.peer.service);
    });
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    const UniqueFd mine(pair[0]);
    Peer peer;
    peer.kind = Peer::Kind::cage;
    peer.cage = "cage_1";
    peer.service = "volary.internal";
    t.server->serve(UniqueFd(pair[1]), peer);
    const auto request = get("/api/v1/cage");
    REQUIRE(::send(mine.get(), request.data(), request.size(), 0) > 0);
    std::string answer(4096, '\0');
    ssize_t got = -1;
    run_until(t.loop, [&] {
        got = ::recv(mine.get(), answer.data(), answer.size(), MSG_DONTWAIT);
        return got > 0;
    });
    answer.resize(static_cast<std::size_t>(got));
    CHECK_THAT(answer, Catch::EndsWith("cage_1 volary.internal"));
}

TEST_CASE("close() lets a running handler answer and ends idle connections", "[http]") {
    Fixture t;
    auto idle = t.connect();
    idle.send(get("/api/v1/hello"));
    idle.read_answer();
    auto busy = t.connect();
    busy.send(get("/api/v1/slow/done"));
    run_until(t.loop, [&] { return t.server->connections() == 2; });
    t.loop.poll();
    run(t.loop, t.server->close());
    CHECK_THAT(busy.read_all(), Contains("Connection: close") && Catch::EndsWith("done"));
    CHECK(idle.read_all().empty());
    CHECK(t.server->connections() == 0);
}
