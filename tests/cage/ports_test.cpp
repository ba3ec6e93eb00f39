// SPDX-License-Identifier: Apache-2.0
// Published ports of real cages: needs bwrap, the built programs and an ordinary user.
#include "base/error.hpp"
#include "cage/processes.hpp"
#include "tests/cage/spawn_fixture.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Catch::Contains;

namespace {

/// Listens on `address`, says so on stdout, and greets each connection with its number.
constexpr const char* kGreeter = R"(
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
server = socket.socket(family)
server.bind((sys.argv[1], 3000))
server.listen(64)
print('listening', flush=True)
for number in range(1000):
    peer, address = server.accept()
    peer.sendall(b'hello %d from %s' % (number, address[0].encode()))
    peer.close()
)";

struct Reached {
    std::vector<std::string> answers;
    std::string refused;
};

asio::awaitable<void> wait_line(Cage* cage) {
    asio::posix::stream_descriptor out(
        co_await asio::this_coro::executor, cage->take_stdout().release()
    );
    char line[16];
    co_await asio::async_read(out, asio::buffer(line, 10), as_result);
}

asio::awaitable<void> reach(Aviary* aviary, SpawnRequest request, int times, Reached* reached) {
    auto cage = co_await aviary->spawner.spawn(std::move(request));
    co_await wait_line(cage.get());
    CHECK(cage->listens(3000));
    CHECK_FALSE(cage->listens(3001));
    for (int i = 0; i < times; ++i) {
        try {
            auto socket = co_await cage->connect(3000);
            CHECK((::fcntl(socket.get(), F_GETFL) & O_NONBLOCK) != 0);
            CHECK((::fcntl(socket.get(), F_GETFD) & FD_CLOEXEC) != 0);
            auto answer = co_await read_all(std::move(socket));
            reached->answers.push_back(std::move(answer));
        } catch (const Error& error) {
            reached->refused = error.what();
        }
    }
    co_await cage->stop(std::chrono::milliseconds(0));
}

asio::awaitable<void> refuse(
    Aviary* aviary, SpawnRequest request, std::uint16_t port, std::vector<std::string>* refused
) {
    auto cage = co_await aviary->spawner.spawn(std::move(request));
    for (int i = 0; i < 2; ++i) {
        try {
            const auto socket = co_await cage->connect(port);
            refused->push_back("connected");
        } catch (const Error& error) {
            refused->push_back(error.what());
        }
        if (i == 0) co_await cage->stop(std::chrono::milliseconds(0));
    }
}

SpawnRequest greeter(const Aviary& aviary, const std::string& address) {
    auto request = aviary.request({"/usr/bin/python3", "-c", kGreeter, address});
    request.policy.ports = {{"web", 3000, false}};
    return request;
}

}  // namespace

TEST_CASE("a published port is reached from outside, more often than sockets were in stock") {
    Aviary aviary;
    const auto address = GENERATE(as<std::string>{}, "127.0.0.1", "::1", "0.0.0.0");
    Reached reached;
    aviary.await(reach(&aviary, greeter(aviary, address), 40, &reached));
    CHECK(reached.refused.empty());
    REQUIRE(reached.answers.size() == 40);
    const std::string from = address == "::1" ? "::1" : "127.0.0.1";
    CHECK(reached.answers.front() == "hello 0 from " + from);
    CHECK(reached.answers.back() == "hello 39 from " + from);
}

TEST_CASE("what is not published, or where nothing listens, is refused in words") {
    Aviary aviary;
    auto request = aviary.request({"/bin/sleep", "60"});
    request.policy.ports = {{"web", 3000, false}};
    std::vector<std::string> refused;
    aviary.await(refuse(&aviary, request, 3000, &refused));
    CHECK(
        refused ==
        std::vector<std::string>{"nothing listens on port 3000 in the cage", "the cage has ended"}
    );
    refused.clear();
    aviary.await(refuse(&aviary, request, 3001, &refused));
    CHECK_THAT(refused.at(0), Contains("port 3001 is not published"));
    refused.clear();
    request.policy.disabled = true;
    aviary.await(refuse(&aviary, request, 3000, &refused));
    CHECK_THAT(refused.at(0), Contains("the cage is disabled"));
}

TEST_CASE("a table of sockets tells who listens where it can be reached") {
    const std::string head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
    const auto row = [](const char* local, const char* state) {
        return "   0: " + std::string(local) + " 00000000:0000 " + state +
               " 00000000:00000000 00\n";
    };
    CHECK(has_listener(head + row("0100007F:0BB8", "0A"), 3000));
    CHECK(has_listener(head + row("00000000:0BB8", "0A"), 3000));
    CHECK_FALSE(has_listener(head + row("0100007F:0BB8", "01"), 3000));
    CHECK_FALSE(has_listener(head + row("0100007F:0BB9", "0A"), 3000));
    // A listener of the gatekeeper on a name's fake address.
    CHECK_FALSE(has_listener(head + row("010012C6:0BB8", "0A"), 3000));
    const std::string v6 = "00000000000000000000000001000000:0BB8 0000:0000 0A 0\n";
    CHECK(has_listener("1: " + v6, 3000));
    CHECK_FALSE(has_listener("garbage", 3000));
    CHECK_FALSE(has_listener("", 3000));
}

TEST_CASE("the host's own port of that number is not what is reached") {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(listener);
    REQUIRE(::listen(listener.get(), 1) == 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0);
    std::uint16_t port = 0;
    std::memcpy(&port, reinterpret_cast<const char*>(&bound) + 2, sizeof port);
    port = static_cast<std::uint16_t>((port >> 8U) | (port << 8U));
    Aviary aviary;
    auto request = aviary.request({"/bin/sleep", "60"});
    request.policy.ports = {{"web", port, false}};
    std::vector<std::string> refused;
    aviary.await(refuse(&aviary, request, port, &refused));
    CHECK_THAT(refused.at(0), Contains("nothing listens"));
}
