// SPDX-License-Identifier: Apache-2.0
#include "tests/cage/gatekeeper/gatekeeper_fixture.hpp"

#include <ctime>
#include <fcntl.h>
#include <sys/resource.h>

#include <boost/asio/steady_timer.hpp>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Kind = NetRule::Kind;

namespace {

/// A question for `name` ("a.b"), class IN.
std::string question(const std::string& name, std::uint16_t type) {
    std::string out("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
    std::size_t at = 0;
    while (at < name.size()) {
        const auto dot = std::min(name.find('.', at), name.size());
        out += static_cast<char>(dot - at) + name.substr(at, dot - at);
        at = dot + 1;
    }
    out += '\0';
    out += {static_cast<char>(type >> 8U), static_cast<char>(type & 0xFFU), '\0', '\1'};
    return out;
}

asio::awaitable<std::string> ask_udp(Fixture& fixture, std::string name, std::uint16_t type) {
    udp::socket socket(fixture.context, udp::v4());
    const udp::endpoint server(asio::ip::address_v4::loopback(), fixture.ports[0]);
    const auto text = question(name, type);
    co_await socket.async_send_to(asio::buffer(text), server, asio::use_awaitable);
    std::string answer(512, '\0');
    const auto size = co_await socket.async_receive(asio::buffer(answer), asio::use_awaitable);
    co_return answer.substr(0, size);
}

int rcode(const std::string& answer) { return answer.at(3) & 0xF; }
int answers(const std::string& answer) { return answer.at(7); }

}  // namespace

TEST_CASE("a cage hears of its own names and no others", "[dns]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const auto v4 = co_await ask_udp(f, "Shop.Example", 1);
        CHECK(v4.substr(v4.size() - 4) == std::string("\xC6\x12\x00\x02", 4));
        const auto v6 = co_await ask_udp(f, "shop.example", 28);
        CHECK(v6.substr(v6.size() - 16, 8) == std::string("\xFDvolary\0", 8));
        const auto https = co_await ask_udp(f, "shop.example", 65);
        CHECK(rcode(https) == 0);
        CHECK(answers(https) == 0);
        const auto evil = co_await ask_udp(f, "c2VjcmV0.evil.example", 16);
        CHECK(rcode(evil) == 3);
        const auto again = co_await ask_udp(f, "c2VjcmV0.evil.example", 1);
        CHECK(rcode(again) == 3);
        const auto own = co_await ask_udp(f, "localhost", 1);
        CHECK(answers(own) == 1);
    };
    fixture.run(talk(fixture));
    REQUIRE(!fixture.denials.empty());
    CHECK(fixture.denials[0].layer == "dns");
    CHECK(fixture.denials[0].what == "name c2vjcmv0.evil.example");
    CHECK(fixture.denials[0].rule == "c2vjcmv0.evil.example:443");
}

TEST_CASE("DNS over TCP answers question after question", "[dns]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        auto socket = co_await f.dial(f.ports[1]);
        const auto text = DnsFrames::frame(question("shop.example", 1)) +
                          DnsFrames::frame(question("evil.example", 1));
        co_await asio::async_write(socket, asio::buffer(text), asio::use_awaitable);
        DnsFrames frames;
        std::vector<std::string> got;
        std::vector<char> buffer(4096);
        while (got.size() < 2) {
            const auto size =
                co_await socket.async_read_some(asio::buffer(buffer), asio::use_awaitable);
            CHECK(frames.feed({buffer.data(), size}));
            while (auto message = frames.next()) got.push_back(*message);
        }
        CHECK(answers(got[0]) == 1);
        CHECK(rcode(got[1]) == 3);
        const std::string empty(2, '\0');
        co_await asio::async_write(socket, asio::buffer(empty), asio::use_awaitable);
        const auto [error, size] = co_await socket.async_read_some(asio::buffer(buffer), as_result);
        CHECK(error);
    };
    fixture.run(talk(fixture));
}

namespace {

/// Takes all descriptors that this process may still have; gives them back when it goes.
class NoDescriptors {
public:
    NoDescriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit low = before_;
        const UniqueFd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        low.rlim_cur = static_cast<rlim_t>(next.get());
        ::setrlimit(RLIMIT_NOFILE, &low);
    }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

std::chrono::nanoseconds cpu_time() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

TEST_CASE("without descriptors the name server waits instead of spinning", "[dns]") {
    Fixture fixture;
    fixture.start({rule(Kind::name, "shop.example", 443)});
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        tcp::socket socket(f.context, tcp::v4());
        const tcp::endpoint server(asio::ip::address_v4::loopback(), f.ports[1]);
        {
            const NoDescriptors none;
            // The kernel completes it; nobody can accept it.
            co_await socket.async_connect(server, asio::use_awaitable);
            const auto before = cpu_time();
            asio::steady_timer while_it_waits(f.context, 300ms);
            co_await while_it_waits.async_wait(as_result);
            CHECK(cpu_time() - before < 100ms);
        }
        const auto text = DnsFrames::frame(question("shop.example", 1));
        co_await asio::async_write(socket, asio::buffer(text), asio::use_awaitable);
        std::string answer(2, '\0');
        co_await asio::async_read(socket, asio::buffer(answer), asio::use_awaitable);
    };
    fixture.run(talk(fixture));
}

TEST_CASE("a wildcard's listeners are there before its name is answered", "[dns]") {
    Fixture fixture;
    fixture.start(
        {rule(Kind::wildcard, "example.org", 443), rule(Kind::wildcard, "example.org", 80)}
    );
    auto talk = [](Fixture& f) -> asio::awaitable<void> {
        const auto apex = co_await ask_udp(f, "example.org", 1);
        CHECK(rcode(apex) == 3);
        const auto first = co_await ask_udp(f, "a.example.org", 1);
        CHECK(answers(first) == 1);
        CHECK(f.bound_later.size() == 4);
        const auto second = co_await ask_udp(f, "a.example.org", 28);
        CHECK(answers(second) == 1);
        CHECK(f.bound_later.size() == 4);
        const auto other = co_await ask_udp(f, "b.example.org", 1);
        CHECK(other.back() == first.back() + 1);
    };
    fixture.run(talk(fixture));
    CHECK(fixture.bound_later[0] == SocketSpec{SocketSpec::Kind::listen, "198.18.0.2", 443});
}
