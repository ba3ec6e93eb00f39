// SPDX-License-Identifier: Apache-2.0
// What the gatekeeper costs: a connect with one byte there and back, and a bulk stream, each
// through it and directly over loopback, in turns within one run. `--json` prints one object.
#include "base/task_scope.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/gatekeeper/net_io.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <netinet/in.h>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

using namespace volary;
using namespace volary::cage;
using std::chrono::steady_clock;

namespace {

constexpr int kConnects = 2000;
constexpr int kRounds = 5;
constexpr std::size_t kBulk = 512U * 1024U * 1024U;
constexpr std::size_t kBlock = 256U * 1024U;

[[noreturn]] void fail(const char* what) {
    std::perror(what);
    std::exit(1);
}

UniqueFd listen_on_loopback(int flags) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fail("bind");
    if (::listen(fd.get(), 128) != 0) fail("listen");
    return fd;
}

UniqueFd dial(std::uint16_t port) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fail("connect");
    send_at_once(fd.get());
    return fd;
}

/// Answers each connection: 'c' is sent back, 'b' starts a bulk stream.
void serve(int listener) {
    std::vector<char> block(kBlock, 'x');
    for (;;) {
        UniqueFd peer(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer) return;
        send_at_once(peer.get());
        char kind = 0;
        if (::recv(peer.get(), &kind, 1, 0) != 1) continue;
        if (kind == 'q') return;
        if (kind == 'c') (void)::send(peer.get(), &kind, 1, MSG_NOSIGNAL);
        std::size_t left = kind == 'b' ? kBulk : 0;
        while (left > 0) {
            const auto sent =
                ::send(peer.get(), block.data(), std::min(left, block.size()), MSG_NOSIGNAL);
            if (sent <= 0) break;
            left -= static_cast<std::size_t>(sent);
        }
    }
}

double connect_us(std::uint16_t port) {
    const auto start = steady_clock::now();
    const auto fd = dial(port);
    char byte = 'c';
    if (::send(fd.get(), &byte, 1, MSG_NOSIGNAL) != 1) fail("send");
    if (::recv(fd.get(), &byte, 1, 0) != 1) fail("recv");
    return std::chrono::duration<double, std::micro>(steady_clock::now() - start).count();
}

double bulk_gb_per_s(std::uint16_t port) {
    std::vector<char> block(kBlock);
    const auto fd = dial(port);
    const char kind = 'b';
    if (::send(fd.get(), &kind, 1, MSG_NOSIGNAL) != 1) fail("send");
    const auto start = steady_clock::now();
    std::size_t got = 0;
    while (got < kBulk) {
        const auto size = ::recv(fd.get(), block.data(), block.size(), 0);
        if (size <= 0) fail("recv");
        got += static_cast<std::size_t>(size);
    }
    const std::chrono::duration<double> took = steady_clock::now() - start;
    return static_cast<double>(got) / 1e9 / took.count();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
    const bool json = argc > 1 && std::string_view(argv[1]) == "--json";
    const auto upstream = listen_on_loopback(0);
    const auto direct = local_endpoint(upstream.get())->port;
    std::thread server(serve, upstream.get());

    asio::io_context context(1);
    Gatekeeper gate(context.get_executor(), {}, {});
    NetRule rule;
    rule.kind = NetRule::Kind::address;
    rule.host = "127.0.0.1";
    rule.port = direct;
    rule.allow_private = true;
    auto plan = plan_network({rule}, {});
    std::vector<UniqueFd> sockets;
    for (const auto& spec : plan.sockets) {
        const bool datagram = spec.kind == SocketSpec::Kind::dns_udp;
        sockets.push_back(
            datagram ? UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
                     : listen_on_loopback(SOCK_NONBLOCK)
        );
    }
    const auto relayed = local_endpoint(sockets.back().get())->port;
    const CageId cage("cage_bench");
    gate.attach(cage, {rule}, std::move(plan), std::move(sockets), {}, {});
    auto work = asio::make_work_guard(context);
    std::thread control([&] { context.run(); });

    std::vector<double> direct_us, relayed_us, direct_gb, relayed_gb;
    for (int i = 0; i < kConnects; ++i) {
        direct_us.push_back(connect_us(direct));
        relayed_us.push_back(connect_us(relayed));
    }
    for (int i = 0; i < kRounds; ++i) {
        direct_gb.push_back(bulk_gb_per_s(direct));
        relayed_gb.push_back(bulk_gb_per_s(relayed));
    }
    (void)::send(dial(direct).get(), "q", 1, MSG_NOSIGNAL);
    server.join();
    work.reset();
    asio::co_spawn(context, gate.close(), [](const std::exception_ptr&) {});
    control.join();

    const double added = median(relayed_us) - median(direct_us);
    const double ratio = median(relayed_gb) / median(direct_gb);
    if (json) {
        std::printf(
            "{\"gate_connect_added_us_p50\": %.1f, \"gate_throughput_ratio\": %.3f}\n", added, ratio
        );
    } else {
        std::printf(
            "connect + 1 byte, us p50   direct %.1f  gatekeeper %.1f  added %.1f\n"
            "stream, GB/s median        direct %.2f  gatekeeper %.2f  ratio %.2f\n",
            median(direct_us), median(relayed_us), added, median(direct_gb), median(relayed_gb),
            ratio
        );
    }
    return 0;
}
