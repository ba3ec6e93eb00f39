// SPDX-License-Identifier: Apache-2.0
// A credential is added on the way out, to the right host only, and never seen in the cage.
#include "base/error.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "tests/cage/gatekeeper/gatekeeper_fixture.hpp"
#include "tests/cage/gatekeeper/hello.hpp"
#include "tests/cage/gatekeeper/tls_server.hpp"

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Kind = NetRule::Kind;

namespace {

const std::string kName = "api.shop.example";
const std::string kSecret = "Bearer top-secret-value";
const std::string kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

NetRule credential_rule(Kind kind = Kind::name, std::string host = kName) {
    auto made = rule(kind, std::move(host), 443);
    made.credential = "api";
    return made;
}

/// A fixture whose operator defined one credential for api.shop.example.
class Injected : public Fixture {
public:
    explicit Injected(Certificate certificate = Certificate::good) : server(kName, certificate) {
        Credential credential;
        credential.header = "Authorization";
        credential.value = Secret(kSecret);
        credential.hosts = {rule(Kind::name, kName, 443)};
        config.credentials.emplace("api", std::move(credential));
        config.ca_file = server.ca_file();
        config.hosts[kName] = "127.0.0.1:" + std::to_string(server.port());
    }
    TlsServer server;

    /// The secret is in nothing that anybody is told.
    void check_silence() const {
        for (const auto& denial : denials)
            CHECK_THAT(denial.what + denial.rule, !Catch::Contains("top-secret"));
        for (const auto& done : connections)
            CHECK_THAT(done.name + done.verdict, !Catch::Contains("top-secret"));
    }
};

std::string request(const std::string& fields, const std::string& line = "GET / HTTP/1.1") {
    return line + "\r\nHost: " + kName + "\r\n" + fields + "\r\n";
}

asio::awaitable<void> ask(Fixture& fixture, std::string text, std::string answer) {
    const auto heard = co_await fixture.talk(kName, text, answer.size());
    CHECK(heard.text == answer);
}

asio::awaitable<void> refused(Fixture& fixture, std::string text) {
    const auto heard = co_await fixture.talk(kName, text);
    CHECK(heard.reset());
    CHECK_THAT(heard.text, !Catch::Contains("top-secret"));
}

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

}  // namespace

TEST_CASE("a credential rule listens on port 80 and adds the header over TLS", "[credential]") {
    Injected fixture;
    fixture.start({credential_rule()});
    std::size_t on_80 = 0;
    for (const auto& spec : fixture.plan.sockets) {
        if (spec.port == 80 && spec.address.starts_with("198.18.0.2")) ++on_80;
        CHECK(spec.port != 443);
    }
    CHECK(on_80 == 1);
    fixture.run(ask(fixture, request("Accept: */*\r\n"), kAnswer));
    CHECK(
        fixture.server.received() ==
        "GET / HTTP/1.1\r\nHost: api.shop.example\r\nAccept: */*\r\nAuthorization: " + kSecret +
            "\r\n\r\n"
    );
    CHECK(fixture.server.protocol() == "http/1.1");
    CHECK(fixture.denials.empty());
    REQUIRE(fixture.connections.size() == 1);
    CHECK(fixture.connections[0].verdict == "allowed");
    CHECK(fixture.connections[0].bytes_up == request("Accept: */*\r\n").size());
    fixture.check_silence();
}

TEST_CASE("no spelling of the cage's own header leaves", "[credential]") {
    const auto fields = GENERATE(
        as<std::string>{}, "Authorization: mine\r\n",
        "authorization: mine\r\nAUTHORIZATION: mine\r\n",
        "aUTHORIZATION:mine\r\nX: y\r\nAuthorization:\tmine\r\n",
        "Proxy-Authorization: mine\r\nproxy_authorization: mine\r\n"
    );
    Injected fixture;
    fixture.start({credential_rule()});
    fixture.run(ask(fixture, request(fields), kAnswer));
    const auto seen = fixture.server.received();
    CHECK(seen.find("mine") == std::string::npos);
    CHECK(count(seen, kSecret) == 1);
}

TEST_CASE("every request of a kept connection gets the credential", "[credential]") {
    Injected fixture;
    fixture.start({credential_rule()});
    const auto body = request("Content-Length: 4\r\n", "POST /a HTTP/1.1") + "body";
    fixture.run(ask(fixture, body + request("") + request(""), kAnswer + kAnswer + kAnswer));
    CHECK(count(fixture.server.received(), kSecret) == 3);
    CHECK(count(fixture.server.received(), "body") == 1);
}

TEST_CASE("what could carry a second header is refused", "[credential]") {
    const auto text = GENERATE(
        as<std::string>{}, request("X: y\r\n Authorization: mine\r\n"),
        request("Authorization : mine\r\n"), request("X: y\nAuthorization: mine\r\n"),
        request("Transfer-Encoding: chunked\r\n") + "0\r\nAuthorization: mine\r\n\r\n",
        request("", "TRACE / HTTP/1.1"), request("", "track / HTTP/1.1"),
        "GET / HTTP/1.1\r\nHost: api.shop.example\r\nHost: evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: api.shop.example\r\n\r\n",
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: api.shop.example\r\n\r\n", hello(kName)
    );
    Injected fixture;
    fixture.start({credential_rule()});
    fixture.run(refused(fixture, text));
    CHECK(fixture.denials.size() == 1);
    CHECK_THAT(fixture.server.received(), !Catch::Contains("mine"));
    fixture.check_silence();
}

TEST_CASE("a pipelined request for somebody else gets nothing", "[credential]") {
    Injected fixture;
    fixture.start({credential_rule()});
    const std::string evil = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    auto pipeline = [](Fixture& f, std::string text) -> asio::awaitable<void> {
        const auto heard = co_await f.talk(kName, text);
        CHECK(heard.reset());
    };
    fixture.run(pipeline(fixture, request("") + evil));
    CHECK_THAT(fixture.server.received(), !Catch::Contains("evil"));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].what == "host evil.example to api.shop.example:443");
}

TEST_CASE("a server that cannot prove its name gets no request", "[credential]") {
    const auto [certificate, why] = GENERATE(table<Certificate, std::string>({
        {Certificate::wrong_name, "hostname mismatch"},
        {Certificate::expired, "certificate has expired"},
        {Certificate::self_signed, "self-signed certificate"},
        {Certificate::other_root, "certificate signature failure"},
    }));
    Injected fixture(certificate);
    fixture.start({credential_rule()});
    fixture.run(refused(fixture, request("")));
    CHECK(fixture.server.received().empty());
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].layer == "credential");
    CHECK_THAT(fixture.denials[0].what, Catch::Contains(why) && Catch::Contains(kName));
    CHECK(fixture.connections.at(0).verdict == "tls");
    fixture.check_silence();
}

TEST_CASE("a peer that speaks no TLS gets no request", "[credential]") {
    Injected fixture;
    fixture.peer.greeting = "HTTP/1.1 200 OK\r\n\r\n";
    fixture.config.hosts[kName] = "127.0.0.1:" + std::to_string(fixture.peer.port());
    fixture.start({credential_rule()});
    fixture.run(refused(fixture, request("")));
    CHECK_THAT(fixture.peer.received, !Catch::Contains("GET") && !Catch::Contains("Bearer"));
    CHECK(fixture.connections.at(0).verdict == "tls");
}

TEST_CASE("a wildcard certificate and a wildcard rule fit the name", "[credential]") {
    Injected fixture(Certificate::wildcard);
    fixture.config.credentials.at("api").hosts = {rule(Kind::wildcard, "shop.example", 443)};
    fixture.start({credential_rule()});
    fixture.run(ask(fixture, request(""), kAnswer));
    CHECK(count(fixture.server.received(), kSecret) == 1);
    CHECK_NOTHROW(fixture.gate->check({credential_rule(Kind::wildcard, "deep.shop.example")}));
}

TEST_CASE("bulk comes back through TLS, and a WebSocket goes both ways", "[credential]") {
    Injected fixture;
    fixture.start({credential_rule()});
    auto bulk = [](Fixture& f) -> asio::awaitable<void> {
        const auto line = request("", "GET /bulk HTTP/1.1");
        const auto heard = co_await f.talk(kName, line, TlsServer::kBulk + 60);
        CHECK(heard.text.size() >= TlsServer::kBulk);
        auto socket = co_await f.dial(f.port_of(kName));
        const auto ask = request("Connection: Upgrade\r\nUpgrade: websocket\r\n") + "frame";
        co_await asio::async_write(socket, asio::buffer(ask), asio::use_awaitable);
        std::string answer(
            std::string("HTTP/1.1 101 Switching Protocols\r\n\r\nframe").size(), ' '
        );
        co_await asio::async_read(socket, asio::buffer(answer), asio::use_awaitable);
        CHECK_THAT(answer, Catch::EndsWith("\r\n\r\nframe"));
    };
    fixture.run(bulk(fixture));
    CHECK(fixture.denials.empty());
}

TEST_CASE("a credential goes nowhere but where its definition lists", "[credential]") {
    Injected fixture;
    fixture.start({});
    const auto& gate = *fixture.gate;
    CHECK_NOTHROW(gate.check({credential_rule()}));
    CHECK_THROWS_WITH(
        gate.check({credential_rule(Kind::name, "evil.example")}),
        Catch::Contains("evil.example") && Catch::Contains("may not go there")
    );
    CHECK_THROWS_WITH(
        gate.check({credential_rule(Kind::wildcard, "example")}),
        Catch::Contains("may not go there")
    );
    auto other_port = credential_rule();
    other_port.port = 8443;
    CHECK_THROWS_WITH(gate.check({other_port}), Catch::Contains("may not go there"));
    auto unknown = credential_rule();
    unknown.credential = "none";
    unknown.origin = "project.yaml:12";
    CHECK_THROWS_WITH(
        gate.check({unknown}),
        Catch::Contains("project.yaml:12") && Catch::Contains("no credential \"none\"")
    );
    auto live = [](Fixture& f) -> asio::awaitable<void> {
        bool refused = false;
        try {
            co_await f.gate->allow(f.cage, credential_rule(Kind::name, "evil.example"));
        } catch (const Error& error) {
            refused = error.code() == Errc::invalid;
        }
        CHECK(refused);
        CHECK(f.bound_later.empty());
    };
    fixture.run(live(fixture));
}

TEST_CASE("a credential that could break a request apart is refused at once", "[credential]") {
    const auto [header, value] = GENERATE(table<std::string, std::string>({
        {"Authorization", "a\r\nHost: evil.example"},
        {"Authorization", ""},
        {"Host", "evil.example"},
        {"content_length", "0"},
        {"A: b", "c"},
    }));
    asio::io_context context;
    GatekeeperConfig config;
    config.credentials["api"] = {header, Secret(value), {}};
    CHECK_THROWS_WITH(
        Gatekeeper(context.get_executor(), config, {}), Catch::Contains("credential \"api\"")
    );
}
