// SPDX-License-Identifier: Apache-2.0
#include "tests/daemon/http/support.hpp"

#include <set>

using namespace volary;
using namespace volary::http;
using Catch::Contains;
using Catch::StartsWith;

namespace {

struct Hub {
    std::set<std::shared_ptr<Socket>> sockets;
    std::uint16_t last_code = 0;
};

asio::awaitable<void> echo(std::shared_ptr<Socket> socket) {
    while (true) {
        const auto message = co_await socket->receive();
        if (!message) co_return;
        if (*message == "bye") co_return;
        if (*message == "throw") throw Error(Errc::internal, "told to");
        if (*message == "close") socket->close(4401, "signed out");
        socket->send("echo " + *message);
    }
}

asio::awaitable<void> join(Hub* hub, std::shared_ptr<Socket> socket) {
    hub->sockets.insert(socket);
    while (true) {
        const auto message = co_await socket->receive();
        if (!message) break;
    }
    hub->last_code = socket->closed_with();
    hub->sockets.erase(socket);
}

asio::awaitable<void> open(Client* client, std::string target, std::shared_ptr<Socket>* out) {
    *out = co_await client->websocket(std::move(target));
}

asio::awaitable<void> next(std::shared_ptr<Socket> socket, std::optional<std::string>* out) {
    *out = co_await socket->receive();
}

struct Fixture : ServerFixture {
    explicit Fixture(ServerOptions with = {}) : ServerFixture(std::move(with)) {
        router.websocket("/api/v1/echo", [](std::shared_ptr<Socket> socket, Request&) {
            return echo(std::move(socket));
        });
        router.websocket("/api/v1/hub", [this](std::shared_ptr<Socket> socket, Request&) {
            return join(&hub, std::move(socket));
        });
        listen();
        client.emplace(loop.get_executor(), Endpoint::unix_socket(path));
    }
    ~Fixture() { stop(); }
    std::shared_ptr<Socket> connect_to(const std::string& target) {
        std::shared_ptr<Socket> socket;
        run(loop, open(&*client, target, &socket));
        return socket;
    }
    std::optional<std::string> receive(const std::shared_ptr<Socket>& socket) {
        std::optional<std::string> out;
        run(loop, next(socket, &out));
        return out;
    }
    Hub hub;
    std::optional<Client> client;
};

constexpr std::string_view kUpgrade =
    "GET /api/v1/hub HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

}  // namespace

TEST_CASE("a WebSocket carries text both ways and closes with a code", "[http]") {
    Fixture t;
    auto socket = t.connect_to("/api/v1/echo");
    CHECK(socket->is_open());
    CHECK(socket->send("one"));
    CHECK(t.receive(socket) == "echo one");
    CHECK(socket->send("bye"));
    CHECK_FALSE(t.receive(socket));
    CHECK(socket->closed_with() == close_code::normal);
    CHECK_FALSE(socket->send("late"));
    run_until(t.loop, [&] { return t.server->connections() == 0; });
}

TEST_CASE("the server's close code and reason reach the client", "[http]") {
    Fixture t;
    auto socket = t.connect_to("/api/v1/echo");
    socket->send("close");
    CHECK_FALSE(t.receive(socket));
    CHECK(socket->closed_with() == close_code::signed_out);
    CHECK(socket->closed_reason() == "signed out");

    auto failing = t.connect_to("/api/v1/echo");
    failing->send("throw");
    CHECK_FALSE(t.receive(failing));
    CHECK(failing->closed_with() == close_code::internal_error);
    run_until(t.loop, [&] { return t.server->connections() == 0; });
}

TEST_CASE("the client's close code reaches the handler", "[http]") {
    Fixture t;
    auto socket = t.connect_to("/api/v1/hub");
    run_until(t.loop, [&] { return t.hub.sockets.size() == 1; });
    socket->close(4001, "leaving");
    CHECK_FALSE(t.receive(socket));
    run_until(t.loop, [&] { return t.hub.sockets.empty(); });
    CHECK(t.hub.last_code == 4001);
}

TEST_CASE("messages that wait together leave in one frame, in order", "[http]") {
    Fixture t;
    auto socket = t.connect_to("/api/v1/hub");
    run_until(t.loop, [&] { return t.hub.sockets.size() == 1; });
    const auto& server_side = *t.hub.sockets.begin();
    std::string expected;
    for (int i = 0; i < 1000; ++i) {
        auto message = "message " + std::to_string(i) + std::string(300, '.');
        expected += message + "\n";
        REQUIRE(server_side->send(std::move(message)));
    }
    std::string received;
    int frames = 0;
    while (received.size() < expected.size()) {
        const auto frame = t.receive(socket);
        REQUIRE(frame);
        CHECK(frame->size() <= kMaxCoalesced);
        received += *frame + "\n";
        ++frames;
    }
    CHECK(received == expected);
    CHECK(frames < 10);
}

TEST_CASE("a reader that falls too far behind is cut off, others do not notice", "[http]") {
    Fixture t;
    auto slow = t.connect();
    slow.send(kUpgrade);
    run_until(t.loop, [&] { return t.hub.sockets.size() == 1; });
    const auto slow_side = *t.hub.sockets.begin();
    auto quick = t.connect_to("/api/v1/hub");
    run_until(t.loop, [&] { return t.hub.sockets.size() == 2; });

    const auto message = std::make_shared<const std::string>(60'000, 'm');
    int sent = 0;
    while (slow_side->send(message)) {
        for (const auto& socket : t.hub.sockets) {
            if (socket != slow_side) REQUIRE(socket->send(message));
        }
        ++sent;
        REQUIRE(t.receive(quick) == *message);
        REQUIRE(sent < 1000);
    }
    CHECK(sent >= 4'000'000 / 60'000);
    CHECK_FALSE(slow_side->is_open());
    // Once it reads on, it finds the close frame (0x88) with 4408 at the end.
    const auto rest = slow.read_until([](const std::string& text) {
        return text.find("\x88\x0a\x11\x38too slow") != std::string::npos;
    });
    CHECK_THAT(rest, StartsWith("HTTP/1.1 101 "));
    slow.close();
    run_until(t.loop, [&] { return t.hub.sockets.size() == 1; });
    for (const auto& socket : t.hub.sockets) REQUIRE(socket->send(message));
    CHECK(t.receive(quick) == *message);
}

TEST_CASE("a message beyond the inbound limit closes the socket", "[http]") {
    Fixture t;
    auto socket = t.connect_to("/api/v1/echo");
    socket->send(std::string(kMaxInboundMessage + 1, 'x'));
    CHECK_FALSE(t.receive(socket));
    CHECK(socket->closed_with() == 1009);
}

TEST_CASE("a peer that vanishes ends the handler", "[http]") {
    Fixture t;
    {
        auto client = t.connect();
        client.send(kUpgrade);
        run_until(t.loop, [&] { return t.hub.sockets.size() == 1; });
    }
    run_until(t.loop, [&] { return t.hub.sockets.empty(); });
    CHECK(t.hub.last_code == 1006);
}

TEST_CASE("a silent peer is pinged and then dropped", "[http]") {
    ServerOptions options;
    options.socket_idle_deadline = std::chrono::milliseconds(60);
    Fixture t(options);
    auto client = t.connect();
    client.send(kUpgrade);
    const auto all = client.read_all();
    CHECK_THAT(all, Contains(std::string("\x89", 1)));
    run_until(t.loop, [&] { return t.server->connections() == 0; });
}

TEST_CASE("what is no WebSocket handshake is told so", "[http]") {
    Fixture t;
    const auto plain = t.ask("GET /api/v1/hub HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK_THAT(plain, StartsWith("HTTP/1.1 426 ") && Contains("\r\nUpgrade: websocket\r\n"));
    auto early = t.connect();
    early.send(std::string(kUpgrade) + "\x81\x80");
    CHECK_THAT(early.read_answer(), StartsWith("HTTP/1.1 400 "));
    CHECK_THROWS_WITH(
        t.connect_to("/api/v1/none"),
        "websocket \"/api/v1/none\": refused with 404: no route \"/api/v1/none\""
    );
}

TEST_CASE("close() tells WebSockets that the daemon goes", "[http]") {
    Fixture t;
    auto socket = t.connect_to("/api/v1/hub");
    run_until(t.loop, [&] { return t.hub.sockets.size() == 1; });
    socket->send("still reading");
    bool closed = false;
    asio::co_spawn(t.loop, t.server->close(), [&](const std::exception_ptr&) { closed = true; });
    CHECK_FALSE(t.receive(socket));
    CHECK(socket->closed_with() == close_code::going_away);
    run_until(t.loop, [&] { return closed; });
}
