// SPDX-License-Identifier: Apache-2.0
// What one cage may have of the network at most, and how connections are dialled.
#include "cage/gatekeeper/dial.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "tests/cage/gatekeeper/gatekeeper_fixture.hpp"
#include "tests/cage/gatekeeper/hello.hpp"

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Kind = NetRule::Kind;

namespace {

asio::awaitable<void> talk_times(Fixture& fixture, int times) {
    const auto text = hello("shop.example");
    for (int i = 0; i < times; ++i) (void)co_await fixture.talk("shop.example", text, text.size());
}

Address address(const std::string& text) { return parse_address(text).value(); }

}  // namespace

TEST_CASE("new connections beyond the rate are reset and told once", "[limits]") {
    Fixture fixture;
    fixture.config.connection_burst = 2;
    fixture.config.connections_per_second = 1;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    fixture.run(talk_times(fixture, 6));
    CHECK(fixture.peer.connections == 2);
    REQUIRE(!fixture.denials.empty());
    CHECK(fixture.denials[0].layer == "limit");
    CHECK(fixture.denials[0].what == "more than 1 new connections a second");
    CHECK(fixture.denials.size() <= 2);
}

TEST_CASE("bytes beyond the cage's share end the connection and refuse the next", "[limits]") {
    const std::size_t size = GENERATE(as<std::size_t>{}, 20'000, 3'000'000);
    Fixture fixture;
    fixture.config.max_bytes = 10'000;
    if (size > 1'000'000) fixture.config.max_bytes = 1'000'000;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto flood = [](Fixture& f, std::size_t bytes) -> asio::awaitable<void> {
        const auto first =
            co_await f.talk("shop.example", hello("shop.example") + std::string(bytes, 'x'));
        CHECK(first.text.size() < bytes);
        const auto second = co_await f.talk("shop.example", hello("shop.example"));
        CHECK(second.reset());
    };
    fixture.run(flood(fixture, size));
    CHECK(fixture.connections.at(0).verdict == "limit");
    REQUIRE(!fixture.denials.empty());
    CHECK_THAT(
        fixture.denials[0].what, Catch::StartsWith("more than ") && Catch::EndsWith(" bytes")
    );
}

TEST_CASE("a question too many is refused by the name server and told", "[limits]") {
    Fixture fixture;
    fixture.config.dns_burst = 1;
    fixture.config.dns_per_second = 1;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto ask = [](Fixture& f) -> asio::awaitable<void> {
        udp::socket socket(f.context, udp::endpoint(asio::ip::address_v4::loopback(), 0));
        const udp::endpoint server(asio::ip::address_v4::loopback(), f.ports[0]);
        const std::string question(
            "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04shop\x07"
            "example\x00\x00\x01\x00\x01",
            30
        );
        std::vector<char> answer(512);
        for (const int code : {0, 5}) {
            co_await socket.async_send_to(asio::buffer(question), server, asio::use_awaitable);
            co_await socket.async_receive(asio::buffer(answer), asio::use_awaitable);
            CHECK((answer[3] & 0xF) == code);
        }
    };
    fixture.run(ask(fixture));
    REQUIRE(fixture.denials.size() == 1);
    CHECK(fixture.denials[0].what == "more than 1 DNS questions a second");
}

TEST_CASE("families take turns when a name is dialled", "[dial]") {
    const auto a = address("2001:db8::1");
    const auto b = address("2001:db8::2");
    const auto c = address("192.0.2.1");
    CHECK(interleave({a, b, c}) == std::vector<Address>{a, c, b});
    CHECK(interleave({c, a, b}) == std::vector<Address>{c, a, b});
    CHECK(interleave({}).empty());
}

TEST_CASE("an address that does not answer does not hold up the next", "[dial]") {
    Fixture fixture;
    fixture.start({});
    auto dial = [](Fixture& f) -> asio::awaitable<void> {
        // A listener whose queue is full never answers: as a dead IPv6 path does.
        UniqueFd full = loopback_socket(SOCK_STREAM, "127.0.0.2");
        REQUIRE(::listen(full.get(), 0) == 0);
        const auto dead = local_endpoint(full.get())->port;
        UniqueFd live(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(dead);
        REQUIRE(::inet_pton(AF_INET, "127.0.0.3", &to.sin_addr) == 1);
        REQUIRE(::bind(live.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
        REQUIRE(::listen(live.get(), 16) == 0);
        const auto executor = f.context.get_executor();
        std::vector<DescriptorPtr> fillers;
        for (int i = 0; i < 4; ++i)
            fillers.push_back(
                start_connect(executor, address("127.0.0.2"), dead, FirstWord::theirs).socket
            );
        const std::vector<Address> both = {address("127.0.0.2"), address("127.0.0.3")};
        const auto start = std::chrono::steady_clock::now();
        const auto won = co_await dial_first(executor, both, dead, FirstWord::ours, 30ms, 3s);
        REQUIRE(won);
        CHECK(std::chrono::steady_clock::now() - start < 2s);
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        ::getpeername(won->native_handle(), reinterpret_cast<sockaddr*>(&peer), &size);
        CHECK(ntohl(peer.sin_addr.s_addr) == 0x7F000003);
        const auto none = co_await dial_first(
            executor, {address("127.0.0.2")}, dead, FirstWord::ours, 30ms, 60ms
        );
        CHECK_FALSE(none);
        const auto refused =
            co_await dial_first(executor, {address("127.0.0.9")}, dead, FirstWord::ours, 30ms, 3s);
        CHECK_FALSE(refused);
    };
    fixture.run(dial(fixture));
}
