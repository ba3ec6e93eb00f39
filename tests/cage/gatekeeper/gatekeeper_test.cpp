// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/gatekeeper.hpp"

#include "base/error.hpp"
#include "tests/cage/gatekeeper/gatekeeper_fixture.hpp"
#include "tests/cage/gatekeeper/hello.hpp"

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Kind = NetRule::Kind;

namespace {

const std::string kRequest = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

asio::awaitable<void> echo(Fixture& fixture, std::string text) {
    const auto heard = co_await fixture.talk("shop.example", text, text.size());
    CHECK(heard.text == text);
}

asio::awaitable<void> refused(Fixture& fixture, std::string name, std::string text) {
    const auto heard = co_await fixture.talk(name, text);
    CHECK(heard.reset());
    CHECK(heard.text.empty());
}

}  // namespace

TEST_CASE("a TLS connection with the right server name is relayed", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    fixture.run(echo(fixture, hello("shop.example") + "ciphertext"));
    CHECK(fixture.denials.empty());
    REQUIRE(fixture.connections.size() == 1);
    CHECK(fixture.connections[0].verdict == "allowed");
    CHECK(fixture.connections[0].name == "shop.example");
    CHECK(fixture.connections[0].port == 443);
    CHECK(fixture.connections[0].cage == fixture.cage);
    CHECK(fixture.connections[0].bytes_up == fixture.peer.received.size());
    CHECK(fixture.connections[0].bytes_down == fixture.connections[0].bytes_up);
}

TEST_CASE("what is not the name's TLS on 443 is reset before anybody is dialled", "[gatekeeper]") {
    const auto [text, what] = GENERATE(table<std::string, std::string>({
        {hello("evil.example"), "server name evil.example to shop.example:443"},
        {records(hello_message("")), "no server name to shop.example:443"},
        {kRequest, "plain text to shop.example:443"},
        {std::string(64, '\x16'), "not a TLS record to shop.example:443"},
    }));
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    fixture.run(refused(fixture, "shop.example", text));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].layer == "sni");
    CHECK(fixture.denials[0].what == what);
    CHECK(fixture.peer.connections == 0);
    CHECK(fixture.connections.at(0).verdict == "sni");
}

TEST_CASE("plain HTTP with the right Host is relayed", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 80)});
    fixture.run(echo(fixture, kRequest + kRequest));
    CHECK(fixture.denials.empty());
}

TEST_CASE("a plain request for somebody else is reset", "[gatekeeper]") {
    const auto [text, what] = GENERATE(table<std::string, std::string>({
        {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "host evil.example to shop.example:80"},
        {"GET / HTTP/1.1\r\nHost: shop.example\r\nHost: evil.example\r\n\r\n",
         "two Hosts to shop.example:80"},
        {"GET http://evil.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
         "the target is not a path to shop.example:80"},
        {"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
         "CONNECT to shop.example:80"},
        {"SSH-2.0-client\r\n\r\n", "not a request line to shop.example:80"},
    }));
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 80)});
    fixture.run(refused(fixture, "shop.example", text));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].layer == "host");
    CHECK(fixture.denials[0].what == what);
    CHECK(fixture.peer.connections == 0);
}

namespace {

asio::awaitable<void> second_request(Fixture& fixture) {
    auto socket = co_await fixture.dial(fixture.port_of("shop.example"));
    co_await asio::async_write(socket, asio::buffer(kRequest), asio::use_awaitable);
    std::string answer(kRequest.size(), '\0');
    co_await asio::async_read(socket, asio::buffer(answer), asio::use_awaitable);
    CHECK(answer == kRequest);
    const std::string evil = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    co_await asio::async_write(socket, asio::buffer(evil), asio::use_awaitable);
    const auto [error, size] = co_await socket.async_read_some(asio::buffer(answer), as_result);
    CHECK(error == asio::error::connection_reset);
}

}  // namespace

TEST_CASE("a second request on a kept connection is judged too", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 80)});
    fixture.run(second_request(fixture));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].what == "host evil.example to shop.example:80");
    CHECK(fixture.peer.received == kRequest);
}

namespace {

/// Asks for a WebSocket and sends `after` with it. `end` is how the connection ends behind the
/// first answer; no error: it goes on.
asio::awaitable<void> upgrade(Fixture& fixture, std::string after, boost::system::error_code end) {
    auto socket = co_await fixture.dial(fixture.port_of("shop.example"));
    const std::string request =
        "GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\n\r\n" +
        after;
    co_await asio::async_write(socket, asio::buffer(request), asio::use_awaitable);
    std::string answer(fixture.peer.fixed_answer.size(), '\0');
    const auto [error, size] = co_await asio::async_read(socket, asio::buffer(answer), as_result);
    // A reset may overtake what was answered before it.
    if (error) CHECK(error == end);
    if (error) co_return;
    CHECK(answer == fixture.peer.fixed_answer);
    const auto [later, more] = co_await socket.async_read_some(asio::buffer(answer), as_result);
    CHECK(later == end);
}

}  // namespace

TEST_CASE("a WebSocket passes frames once the server switched", "[gatekeeper]") {
    Fixture fixture;
    fixture.peer.fixed_answer = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    fixture.start({rule(Kind::name, "shop.example", 80)});
    fixture.run(upgrade(fixture, "frame", {}));
    CHECK_THAT(fixture.peer.received, Catch::EndsWith("\r\n\r\nframe"));
}

TEST_CASE("an upgrade that the server ignored hides no second request", "[gatekeeper]") {
    Fixture fixture;
    fixture.peer.fixed_answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    fixture.start({rule(Kind::name, "shop.example", 80)});
    const std::string evil = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    fixture.run(upgrade(fixture, evil, asio::error::connection_reset));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].what == "host evil.example to shop.example:80");
    CHECK_THAT(fixture.peer.received, !Catch::Contains("evil"));
}

TEST_CASE("a server that speaks first is heard on other ports", "[gatekeeper]") {
    Fixture fixture;
    fixture.config.silence = 10ms;
    fixture.peer.greeting = "SSH-2.0-server\r\n";
    fixture.start({rule(Kind::name, "shop.example", 22)});
    auto listen = [](Fixture& f) -> asio::awaitable<void> {
        const auto heard = co_await f.talk("shop.example", "", f.peer.greeting.size());
        CHECK(heard.text == f.peer.greeting);
    };
    fixture.run(listen(fixture));
    CHECK(fixture.denials.empty());
}

TEST_CASE("silence opens no way around the check", "[gatekeeper]") {
    Fixture fixture;
    fixture.config.silence = 10ms;
    fixture.peer.greeting = "hello";
    fixture.start({rule(Kind::name, "shop.example", 8080)});
    auto late = [](Fixture& f) -> asio::awaitable<void> {
        auto socket = co_await f.dial(f.port_of("shop.example"));
        std::string greeting(5, '\0');
        co_await asio::async_read(socket, asio::buffer(greeting), asio::use_awaitable);
        const std::string evil = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        co_await asio::async_write(socket, asio::buffer(evil), asio::use_awaitable);
        const auto [error, size] =
            co_await socket.async_read_some(asio::buffer(greeting), as_result);
        CHECK(error == asio::error::connection_reset);
    };
    fixture.run(late(fixture));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.peer.received.empty());
}

TEST_CASE("host.volary reaches the host's own loopback", "[gatekeeper]") {
    Fixture fixture;
    auto own = rule(Kind::host, "host.volary", fixture.peer.port());
    fixture.start({own});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const std::string text = "GET / HTTP/1.1\r\nHost: host.volary\r\n\r\n";
        const auto heard = co_await f.talk("host.volary", text, text.size());
        CHECK(heard.text == text);
    };
    fixture.run(talk(fixture));
}

TEST_CASE("a name that resolves to an inner address is refused", "[gatekeeper]") {
    Fixture fixture;
    // "localhost" is a name that the host's own resolver knows to be private.
    fixture.start({rule(Kind::name, "localhost", fixture.peer.port())});
    const auto text = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    fixture.run(refused(fixture, "localhost", text));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].layer == "net");
    CHECK_THAT(fixture.denials[0].what, Catch::StartsWith("private address, tcp localhost:"));
    CHECK_THAT(fixture.denials[0].rule, Catch::Contains("private: true"));
    CHECK(fixture.peer.connections == 0);
}

TEST_CASE("the same name passes when its rule says private", "[gatekeeper]") {
    Fixture fixture;
    auto allowed = rule(Kind::name, "localhost", fixture.peer.port());
    allowed.allow_private = true;
    fixture.start({allowed});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const std::string text = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        const auto heard = co_await f.talk("localhost", text, text.size());
        CHECK(heard.text == text);
    };
    fixture.run(talk(fixture));
}

TEST_CASE("an address rule relays anything to that very address", "[gatekeeper]") {
    Fixture fixture;
    auto allowed = rule(Kind::address, "127.0.0.1", fixture.peer.port());
    allowed.allow_private = true;
    fixture.start({allowed});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const auto heard = co_await f.talk("127.0.0.1", "anything", 8);
        CHECK(heard.text == "anything");
    };
    fixture.run(talk(fixture));
}

TEST_CASE("what falls outside a block is reset", "[gatekeeper]") {
    Fixture fixture;
    auto block = rule(Kind::cidr, "10.0.0.0/8", 5432);
    block.allow_private = true;
    fixture.start({block});
    fixture.run(refused(fixture, "10.0.0.0/8", "hello"));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].what == "tcp 127.0.0.1:5432");
}

TEST_CASE("a connection that cannot be served does not end its listener", "[gatekeeper]") {
    Fixture fixture;
    fixture.fail_internal = true;
    fixture.start({});
    auto twice = [](Fixture& f) -> asio::awaitable<void> {
        const auto first = co_await f.talk("volary.internal", "");
        CHECK(first.error);
        auto second = co_await f.dial(f.port_of("volary.internal"));
        while (f.internal.empty()) co_await asio::post(f.context, asio::use_awaitable);
        CHECK(f.internal[0].first == "volary.internal");
    };
    fixture.run(twice(fixture));
}

TEST_CASE("an internal name goes up untouched", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        auto socket = co_await f.dial(f.port_of("volary.internal"));
        co_await asio::async_write(socket, asio::buffer("hi", 2), asio::use_awaitable);
        while (f.internal.empty()) co_await asio::post(f.context, asio::use_awaitable);
        char got[4] = {};
        const int fd = f.internal[0].second.get();
        CHECK(::recv(fd, got, sizeof got, 0) == 2);
        CHECK(f.internal[0].first == "volary.internal");
    };
    fixture.run(talk(fixture));
}

TEST_CASE("connections beyond the cage's share are reset and told once", "[gatekeeper]") {
    Fixture fixture;
    fixture.config.max_connections = 1;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto many = [](Fixture& f) -> asio::awaitable<void> {
        auto first = co_await f.dial(f.port_of("shop.example"));
        for (int i = 0; i < 3; ++i) {
            const auto heard = co_await f.talk("shop.example", "");
            CHECK(heard.reset());
        }
    };
    fixture.run(many(fixture));
    REQUIRE(!fixture.denials.empty());
    CHECK(fixture.denials[0].layer == "limit");
    CHECK(fixture.denials[0].what == "more than 1 connections");
}

TEST_CASE("bulk passes both ways unchanged, and an end of stream is passed on", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto bulk = [](Fixture& f) -> asio::awaitable<void> {
        auto socket = co_await f.dial(f.port_of("shop.example"));
        std::string sent = hello("shop.example");
        while (sent.size() < 4'000'000) sent += std::to_string(sent.size());
        TaskScope scope(f.context.get_executor(), log_task_errors());
        auto write = [](tcp::socket& to, const std::string& text) -> asio::awaitable<void> {
            co_await asio::async_write(to, asio::buffer(text), asio::use_awaitable);
            to.shutdown(tcp::socket::shutdown_send);
        };
        scope.spawn("write", write(socket, sent));
        std::string got;
        std::vector<char> buffer(65536);
        boost::system::error_code error;
        while (!error) {
            const auto [now, size] =
                co_await socket.async_read_some(asio::buffer(buffer), as_result);
            error = now;
            got.append(buffer.data(), size);
        }
        CHECK(error == asio::error::eof);
        CHECK(got == sent);
        co_await scope.close();
    };
    fixture.run(bulk(fixture));
    REQUIRE(fixture.connections.size() == 1);
    CHECK(fixture.connections[0].bytes_up == fixture.connections[0].bytes_down);
}

TEST_CASE("a client that never finishes its hello is cut off", "[gatekeeper]") {
    Fixture fixture;
    fixture.config.head_timeout = 20ms;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    fixture.run(refused(fixture, "shop.example", hello("shop.example").substr(0, 20)));
    CHECK(fixture.connections.at(0).verdict == "idle");
}

TEST_CASE("a peer that is not there resets the client", "[gatekeeper]") {
    Fixture fixture;
    UniqueFd closed = loopback_socket(SOCK_STREAM);
    const auto port = local_endpoint(closed.get())->port;
    closed.reset();
    fixture.config.hosts["shop.example"] = "127.0.0.1:" + std::to_string(port);
    fixture.start({rule(Kind::name, "shop.example", 443)});
    fixture.run(refused(fixture, "shop.example", hello("shop.example")));
    CHECK(fixture.connections.at(0).verdict == "connect");
    CHECK(fixture.denials.empty());
}

TEST_CASE("attach refuses what does not fit, and detach ends connections", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    CHECK_THROWS_AS(fixture.gate->attach(fixture.cage, {}, {}, {}, {}, {}), Error);
    CHECK_THROWS_AS(
        fixture.gate->attach(CageId("cage_02"), {}, plan_network({}, {}), {}, {}, {}), Error
    );
    auto open = [](Fixture& f) -> asio::awaitable<void> {
        auto socket = co_await f.dial(f.port_of("shop.example"));
        const auto text = hello("shop.example");
        co_await asio::async_write(socket, asio::buffer(text), asio::use_awaitable);
        std::string answer(text.size(), '\0');
        co_await asio::async_read(socket, asio::buffer(answer), asio::use_awaitable);
        co_await f.gate->detach(f.cage);
        const auto [error, size] = co_await socket.async_read_some(asio::buffer(answer), as_result);
        CHECK(error);
        CHECK(f.connections.size() == 1);
    };
    fixture.run(open(fixture));
}

TEST_CASE("an override that is no address is refused by name", "[gatekeeper]") {
    asio::io_context context;
    GatekeeperConfig config;
    config.hosts["shop.example"] = "elsewhere";
    CHECK_THROWS_WITH(
        Gatekeeper(context.get_executor(), config, {}), Catch::Contains("shop.example")
    );
}
