// SPDX-License-Identifier: Apache-2.0
// Rules that are added to a running cage, and what its network log says.
#include "base/error.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "tests/cage/gatekeeper/gatekeeper_fixture.hpp"
#include "tests/cage/gatekeeper/hello.hpp"

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Kind = NetRule::Kind;

namespace {

NetRule private_address(std::uint16_t port) {
    auto made = rule(Kind::address, "127.0.0.1", port);
    made.allow_private = true;
    return made;
}

asio::awaitable<Errc> refused(Fixture& fixture, NetRule rule) {
    try {
        co_await fixture.gate->allow(fixture.cage, std::move(rule));
    } catch (const Error& error) {
        co_return error.code();
    }
    FAIL("it was allowed");
    co_return Errc::internal;
}

}  // namespace

TEST_CASE("a name that is allowed later gets listeners and is relayed", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({});
    auto grant = [](Fixture& f) -> asio::awaitable<void> {
        const auto added = rule(Kind::name, "shop.example", 443);
        co_await f.gate->allow(f.cage, added);
        co_await f.gate->allow(f.cage, added);
        REQUIRE(f.bound_later.size() == 2);
        CHECK(f.bound_later[0].port == 443);
        CHECK(f.bound_later[0].address != f.bound_later[1].address);
        const auto text = hello("shop.example");
        const auto heard = co_await f.talk_to(f.ports_later[0], text, text.size());
        CHECK(heard.text == text);
    };
    fixture.run(grant(fixture));
    CHECK(fixture.denials.empty());
}

TEST_CASE("an address and a block that are allowed later are relayed", "[gatekeeper]") {
    const bool block = GENERATE(false, true);
    Fixture fixture;
    fixture.start({});
    auto added = private_address(fixture.peer.port());
    if (block) added.kind = Kind::cidr;
    if (block) added.host = "127.0.0.0/8";
    auto grant = [](Fixture& f, NetRule rule) -> asio::awaitable<void> {
        co_await f.gate->allow(f.cage, rule);
        co_await f.gate->allow(f.cage, rule);
        REQUIRE(f.bound_later.size() == 1);
        const auto heard = co_await f.talk_to(f.ports_later[0], "anything", 8);
        CHECK(heard.text == "anything");
    };
    fixture.run(grant(fixture, added));
}

TEST_CASE("a private grant lifts the refusal of a rule that is there", "[gatekeeper]") {
    Fixture fixture;
    const auto before = rule(Kind::name, "localhost", fixture.peer.port());
    fixture.start({before});
    auto grant = [](Fixture& f, NetRule rule) -> asio::awaitable<void> {
        const std::string text = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        const auto first = co_await f.talk("localhost", text);
        CHECK(first.reset());
        rule.allow_private = true;
        co_await f.gate->allow(f.cage, rule);
        CHECK(f.bound_later.empty());
        const auto heard = co_await f.talk("localhost", text, text.size());
        CHECK(heard.text == text);
    };
    fixture.run(grant(fixture, before));
}

TEST_CASE("what no plan takes is refused live too", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({});
    auto grant = [](Fixture& f) -> asio::awaitable<void> {
        const auto port = co_await refused(f, rule(Kind::name, "shop.example", 0));
        CHECK(port == Errc::invalid);
        const auto mapped = co_await refused(f, rule(Kind::address, "::ffff:10.0.0.1", 80));
        CHECK(mapped == Errc::invalid);
        f.refuse_binds = true;
        const auto bind = co_await refused(f, rule(Kind::name, "shop.example", 80));
        CHECK(bind == Errc::unavailable);
        f.refuse_binds = false;
        co_await f.gate->allow(f.cage, rule(Kind::name, "shop.example", 80));
        CHECK(f.bound_later.size() == 2);
        f.cage = CageId("cage_unknown");
        const auto unknown = co_await refused(f, rule(Kind::name, "shop.example", 80));
        CHECK(unknown == Errc::not_found);
    };
    fixture.run(grant(fixture));
}

TEST_CASE("the network log shows open connections first, then finished ones", "[gatekeeper]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto look = [](Fixture& f) -> asio::awaitable<void> {
        const auto text = hello("shop.example");
        const auto refused = co_await f.talk("shop.example", hello("evil.example"));
        CHECK(refused.reset());
        auto socket = co_await f.dial(f.port_of("shop.example"));
        co_await asio::async_write(socket, asio::buffer(text), asio::use_awaitable);
        std::string answer(text.size(), '\0');
        co_await asio::async_read(socket, asio::buffer(answer), asio::use_awaitable);
        const auto log = f.gate->connections(f.cage);
        REQUIRE(log.size() == 2);
        CHECK(log[0].open);
        CHECK(log[0].bytes_up == text.size());
        CHECK(log[0].verdict == "allowed");
        CHECK(log[0].at_ms > 0);
        CHECK_FALSE(log[1].open);
        CHECK(log[1].verdict == "sni");
        const auto use = f.gate->use(f.cage);
        CHECK(use.open == 1);
        CHECK(use.total == 2);
        CHECK(use.bytes_down == text.size());
        CHECK(use.denied == 1);
        co_await f.gate->detach(f.cage);
        CHECK(f.gate->use(f.cage).open == 0);
        CHECK(f.gate->connections(f.cage).size() == 2);
        CHECK(f.gate->connections(CageId("cage_none")).empty());
    };
    fixture.run(look(fixture));
}

TEST_CASE("the network log keeps the last 256 finished connections", "[gatekeeper]") {
    NetworkLog log;
    for (int i = 0; i < 300; ++i) {
        Connection done;
        done.port = static_cast<std::uint16_t>(i);
        log.closed(log.opened({}), done);
    }
    const auto list = log.list();
    REQUIRE(list.size() == kKeptConnections);
    CHECK(list.front().port == 299);
    CHECK(list.back().port == 44);
    CHECK(log.use().total == 300);
}
