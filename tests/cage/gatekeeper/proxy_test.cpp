// SPDX-License-Identifier: Apache-2.0
// Names that are reached through the operator's HTTP proxy.
#include "cage/gatekeeper/gatekeeper.hpp"
#include "tests/cage/gatekeeper/gatekeeper_fixture.hpp"
#include "tests/cage/gatekeeper/hello.hpp"
#include "tests/cage/gatekeeper/tls_server.hpp"

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Kind = NetRule::Kind;

namespace {

const std::string kOpen = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A fixture whose gatekeeper goes through a proxy that gives one answer to everything.
class Proxied : public Fixture {
public:
    Proxied() {
        UpstreamProxy through;
        through.host = "127.0.0.1";
        through.port = peer.port();
        config.proxy = through;
        config.proxy_authorization = Secret("Basic dTpw");
        peer.fixed_answer = kOpen;
    }
    NetRule local() const {
        // "localhost" is a name that the host's own resolver knows.
        auto made = rule(Kind::name, "localhost", 8080);
        made.allow_private = true;
        return made;
    }
};

const std::string kRequest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

asio::awaitable<void> refused(Fixture& fixture, std::string name, std::string text) {
    const auto heard = co_await fixture.talk(name, text);
    CHECK(heard.reset());
    CHECK(heard.text.empty());
}

}  // namespace

TEST_CASE("a name goes to the proxy by CONNECT, with the proxy's own credential", "[proxy]") {
    Proxied fixture;
    fixture.start({fixture.local()});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        // The peer answers each thing it reads in the same way: first CONNECT, then the request.
        const auto heard = co_await f.talk("localhost", kRequest, kOpen.size());
        CHECK(heard.text == kOpen);
    };
    fixture.run(talk(fixture));
    CHECK(
        fixture.peer.received ==
        "CONNECT localhost:8080 HTTP/1.1\r\nHost: localhost:8080\r\n"
        "Proxy-Authorization: Basic dTpw\r\n\r\n" +
            kRequest
    );
    CHECK(fixture.connections.at(0).verdict == "allowed");
}

TEST_CASE("what a proxy says behind its answer reaches the cage", "[proxy]") {
    Proxied fixture;
    fixture.peer.fixed_answer = kOpen + "220 hello\r\n";
    fixture.config.silence = 10ms;
    fixture.start({fixture.local()});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const auto heard = co_await f.talk("localhost", "", 11);
        CHECK(heard.text == "220 hello\r\n");
    };
    fixture.run(talk(fixture));
}

TEST_CASE("a proxy that refuses or answers garbage resets the cage and is told", "[proxy]") {
    const auto [answer, what] = GENERATE(table<std::string, std::string>({
        {"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy answered 403, localhost:8080"},
        {"\x16\x03\x01 garbage", "the proxy's answer is not HTTP, localhost:8080"},
        {"HTTP/1.1 200 " + std::string(20'000, 'x'),
         "the proxy's answer is too large, localhost:8080"},
    }));
    Proxied fixture;
    fixture.peer.fixed_answer = answer;
    fixture.start({fixture.local()});
    fixture.run(refused(fixture, "localhost", kRequest));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].layer == "net");
    CHECK(fixture.denials[0].what == what);
    CHECK(fixture.connections.at(0).verdict == "proxy");
    CHECK_THAT(fixture.peer.received, !Catch::Contains("GET"));
}

TEST_CASE("the proxy opens no way to an inner address", "[proxy]") {
    Proxied fixture;
    auto inner = fixture.local();
    inner.allow_private = false;
    fixture.start({inner});
    fixture.run(refused(fixture, "localhost", kRequest));
    CHECK(fixture.peer.connections == 0);
    CHECK(fixture.connections.at(0).verdict == "private");
}

TEST_CASE("exceptions of the proxy are dialled directly", "[proxy]") {
    Proxied fixture;
    fixture.config.proxy->except = {"localhost"};
    auto direct = fixture.local();
    direct.port = fixture.peer.port();
    fixture.start({direct});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const auto heard = co_await f.talk("localhost", kRequest, kOpen.size());
        CHECK(heard.text == kOpen);
    };
    fixture.run(talk(fixture));
    CHECK(fixture.peer.received == kRequest);
}

TEST_CASE("an overridden name is dialled directly", "[proxy]") {
    Proxied fixture;
    fixture.start({rule(Kind::name, "shop.example", 80)});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const std::string text = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        const auto heard = co_await f.talk("shop.example", text, kOpen.size());
        CHECK(heard.text == kOpen);
    };
    fixture.run(talk(fixture));
    CHECK_THAT(fixture.peer.received, !Catch::Contains("CONNECT"));
}

TEST_CASE("a proxy that is spoken to by TLS must prove its name", "[proxy]") {
    const bool good = GENERATE(true, false);
    TlsServer server("proxy.example", good ? Certificate::good : Certificate::wrong_name);
    Proxied fixture;
    fixture.config.proxy->tls = true;
    fixture.config.proxy->host = "proxy.example";
    fixture.config.ca_file = server.ca_file();
    fixture.config.hosts["proxy.example"] = "127.0.0.1:" + std::to_string(server.port());
    fixture.start({fixture.local()});
    auto talk = [](Fixture& f, bool through) -> asio::awaitable<void> {
        const std::string answer = "HTTP/1.1 200 OK\r\n";
        const auto heard = co_await f.talk("localhost", kRequest, through ? answer.size() : 0);
        CHECK(heard.reset() == !through);
        if (through) CHECK_THAT(heard.text, Catch::Contains("ok") || Catch::StartsWith(answer));
    };
    fixture.run(talk(fixture, good));
    CHECK((server.received().find("CONNECT localhost:8080") == 0) == good);
    if (!good) CHECK(fixture.connections.at(0).verdict == "proxy");
}
