// SPDX-License-Identifier: Apache-2.0
// What the gatekeeper costs: a connect with one byte there and back, and a bulk stream, each
// through it and directly over loopback, in turns within one run; 5,000 open connections. `--json`
// prints one object.
#include "base/schedule.hpp"
#include "base/task_scope.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/gatekeeper/net_io.hpp"
#include "cage/gatekeeper/resolver.hpp"
#include "tests/bench/net_peers.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <map>
#include <netinet/in.h>
#include <string_view>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

using namespace volary;
using namespace volary::cage;
using std::chrono::steady_clock;

namespace {

constexpr int kConnects = 1000;
constexpr std::size_t kHeld = 400;
constexpr int kResolutions = 200;
constexpr int kRounds = 5;
constexpr std::size_t kOpen = 5000;
constexpr std::size_t kBulk = 512U * 1024U * 1024U;
constexpr std::size_t kBlock = 256U * 1024U;
constexpr int kSplice = 1024 * 1024;
// No byte that a request or a ClientHello starts with: the judge then lets the rest pass at once.
constexpr char kEcho = 1;
constexpr char kStream = 2;
constexpr auto kBeat = std::chrono::milliseconds(1);

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
    if (::listen(fd.get(), 4096) != 0) fail("listen");
    return fd;
}

struct Target {
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;
};

UniqueFd dial(const Target& target) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(target.port);
    if (::inet_pton(AF_INET, target.address.c_str(), &to.sin_addr) != 1) fail("address");
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fail("connect");
    send_at_once(fd.get());
    return fd;
}

void stream(int peer) {
    const std::vector<char> block(kBlock, 'x');
    (void)::fcntl(peer, F_SETFL, 0);
    for (std::size_t left = kBulk; left > 0;) {
        const auto sent = ::send(peer, block.data(), std::min(left, block.size()), MSG_NOSIGNAL);
        if (sent <= 0) return;
        left -= static_cast<std::size_t>(sent);
    }
}

int watch(int loop, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    return ::epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

/// A server in a process of its own, for ever: kEcho is sent back and the connection stays open,
/// kStream starts a bulk stream that ends it.
[[noreturn]] void serve(int listener) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int loop = ::epoll_create1(EPOLL_CLOEXEC);
    watch(loop, listener);
    for (;;) {
        epoll_event ready[64];
        const int count = ::epoll_wait(loop, ready, 64, -1);
        for (int i = 0; i < count; ++i) {
            const int fd = ready[i].data.fd;
            if (fd == listener) {
                const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
                if (client < 0) continue;
                send_at_once(client);
                watch(loop, client);
                continue;
            }
            char kind = 0;
            const bool more = ::recv(fd, &kind, 1, 0) == 1;
            if (more && kind == kEcho) (void)::send(fd, &kind, 1, MSG_NOSIGNAL);
            if (more && kind == kStream) stream(fd);
            if (!more || kind == kStream) ::close(fd);
        }
    }
}

void splice_all(int from, int to) {
    prefer_bulk();
    int pipe[2] = {-1, -1};
    if (::pipe2(pipe, O_CLOEXEC) != 0) fail("pipe2");
    (void)::fcntl(pipe[1], F_SETPIPE_SZ, kSplice);
    for (;;) {
        auto left = ::splice(from, nullptr, pipe[1], nullptr, kSplice, SPLICE_F_MOVE);
        if (left <= 0) break;
        while (left > 0) {
            const auto put = ::splice(
                pipe[0], nullptr, to, nullptr, static_cast<std::size_t>(left), SPLICE_F_MOVE
            );
            if (put <= 0) break;
            left -= put;
        }
    }
    ::close(pipe[0]);
    ::close(pipe[1]);
}

/// The least that a relay can do on this machine, in a process of its own: it judges, limits and
/// counts nothing, waits for nothing that it need not, and serves one bulk stream at a time.
[[noreturn]] void relay(int listener, Target target) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int loop = ::epoll_create1(EPOLL_CLOEXEC);
    watch(loop, listener);
    std::map<int, int> other;
    for (;;) {
        epoll_event ready[64];
        const int count = ::epoll_wait(loop, ready, 64, -1);
        for (int i = 0; i < count; ++i) {
            const int fd = ready[i].data.fd;
            if (fd == listener) {
                const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
                const int server = dial(target).release();
                send_at_once(client);
                other[client] = server;
                other[server] = client;
                watch(loop, client);
                watch(loop, server);
                continue;
            }
            const auto pair = other.find(fd);
            if (pair == other.end()) continue;
            const int peer = pair->second;
            char kind = 0;
            const bool more = ::recv(fd, &kind, 1, 0) == 1;
            if (more) (void)::send(peer, &kind, 1, MSG_NOSIGNAL);
            if (more && kind == kStream) splice_all(peer, fd);
            if (more && kind != kStream) continue;
            other.erase(fd);
            other.erase(peer);
            ::close(fd);
            ::close(peer);
        }
    }
}

void exchange(int fd) {
    char byte = kEcho;
    if (::send(fd, &byte, 1, MSG_NOSIGNAL) != 1) fail("send");
    if (::recv(fd, &byte, 1, 0) != 1) fail("recv");
}

double us_since(steady_clock::time_point start) {
    return std::chrono::duration<double, std::micro>(steady_clock::now() - start).count();
}

/// The connection is left in `open`: ending it would be work at the same time as the next one.
double connect_us(const Target& target, std::vector<UniqueFd>& open) {
    const auto start = steady_clock::now();
    open.push_back(dial(target));
    exchange(open.back().get());
    return us_since(start);
}

double bulk_gb_per_s(const Target& target) {
    std::vector<char> block(kBlock);
    const auto fd = dial(target);
    const char kind = kStream;
    if (::send(fd.get(), &kind, 1, MSG_NOSIGNAL) != 1) fail("send");
    const auto start = steady_clock::now();
    std::size_t got = 0;
    while (got < kBulk) {
        const auto size = ::recv(fd.get(), block.data(), block.size(), 0);
        if (size <= 0) fail("recv");
        got += static_cast<std::size_t>(size);
    }
    return static_cast<double>(got) / 1e3 / us_since(start);
}

double quantile(std::vector<double> values, double part) {
    if (values.empty()) return 0;
    std::ranges::sort(values);
    const auto last = static_cast<double>(values.size() - 1);
    return values[static_cast<std::size_t>(last * part)];
}

double median(const std::vector<double>& values) { return quantile(values, 0.5); }

/// How late the control loop runs what is due: a timer that rings every millisecond.
asio::awaitable<void> beat(std::atomic<bool>* on, std::vector<double>* late_ms) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (on->load()) {
        timer.expires_after(kBeat);
        const auto due = timer.expiry();
        co_await timer.async_wait(asio::use_awaitable);
        late_ms->push_back(us_since(due) / 1e3);
    }
}

asio::awaitable<void> resolve_often(std::vector<double>* took_us) {
    const auto executor = co_await asio::this_coro::executor;
    for (int i = 0; i < kResolutions; ++i) {
        // A new one each time: an answer is kept for five seconds.
        Resolver resolver(executor, {}, std::chrono::seconds(10));
        const auto start = steady_clock::now();
        co_await resolver.resolve("localhost", "");
        took_us->push_back(us_since(start));
        co_await resolver.close();
    }
}

NetRule rule_for(NetRule::Kind kind, std::string host, std::uint16_t port) {
    NetRule rule;
    rule.kind = kind;
    rule.host = std::move(host);
    rule.port = port;
    rule.allow_private = true;
    return rule;
}

/// A gatekeeper on a thread of its own, with one cage whose listeners are on loopback.
class Gate {
public:
    explicit Gate(std::uint16_t upstream) : context_(1) {
        GatekeeperConfig config;
        config.hosts["bench.example"] = "127.0.0.1:" + std::to_string(upstream);
        config.max_connections = kOpen + 100;
        config.connection_burst = config.connections_per_second = 1'000'000;
        gate_ = std::make_unique<Gatekeeper>(context_.get_executor(), config, GatekeeperHooks{});
        const std::vector<NetRule> rules = {
            rule_for(NetRule::Kind::address, "127.0.0.1", upstream),
            rule_for(NetRule::Kind::name, "bench.example", 4000)
        };
        auto plan = plan_network(rules, {});
        std::vector<UniqueFd> sockets;
        for (std::size_t i = 0; i < plan.sockets.size(); ++i) {
            const bool datagram = plan.sockets[i].kind == SocketSpec::Kind::dns_udp;
            constexpr int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
            sockets.push_back(
                datagram ? UniqueFd(::socket(AF_INET, SOCK_DGRAM | flags, 0))
                         : listen_on_loopback(SOCK_NONBLOCK)
            );
            const bool named = plan.targets[i].name == "bench.example";
            const auto bound = local_endpoint(sockets.back().get());
            const auto port = bound ? bound->port : std::uint16_t{0};
            if (plan.targets[i].name == "127.0.0.1") by_address.port = port;
            if (named && by_name.port == 0) by_name.port = port;
        }
        gate_->attach(CageId("cage_bench"), rules, std::move(plan), std::move(sockets), {}, {});
        control_ = std::thread([this] {
            prefer_short_turns();
            context_.run();
        });
    }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    ~Gate() {
        asio::co_spawn(context_, gate_->close(), [this](const std::exception_ptr&) {
            work_.reset();
        });
        control_.join();
    }

    std::vector<double> lateness_while(const std::function<void()>& load) {
        std::atomic<bool> on{true};
        std::vector<double> late;
        auto done = asio::co_spawn(context_, beat(&on, &late), asio::use_future);
        load();
        on = false;
        done.get();
        return late;
    }

    std::vector<double> resolutions() {
        std::vector<double> took;
        asio::co_spawn(context_, resolve_often(&took), asio::use_future).get();
        return took;
    }

    Target by_address, by_name;

private:
    asio::io_context context_;
    std::unique_ptr<Gatekeeper> gate_;
    asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
    std::thread control_;
};

using Figures = std::map<std::string, double>;

void measure_connects(Gate& gate, const Target& direct, const Target& least, Figures& out) {
    std::vector<double> plain, floor, address, name;
    std::vector<UniqueFd> open;
    for (int i = 0; i < kConnects; ++i) {
        if (open.size() > kHeld) open.clear();
        plain.push_back(connect_us(direct, open));
        floor.push_back(connect_us(least, open));
        address.push_back(connect_us(gate.by_address, open));
        name.push_back(connect_us(gate.by_name, open));
    }
    out["gate_connect_floor_us_p50"] = median(floor) - median(plain);
    out["gate_direct_connect_us_p50"] = median(plain);
    out["gate_connect_added_us_p50"] = median(address) - median(plain);
    out["gate_named_connect_added_us_p50"] = median(name) - median(plain);
    out["gate_resolve_us_p50"] = median(gate.resolutions());
}

void measure_stream(Gate& gate, const Target& direct, const Target& least, Figures& out) {
    std::vector<double> plain, floor, relayed;
    const auto late = gate.lateness_while([&] {
        for (int i = 0; i < kRounds; ++i) {
            plain.push_back(bulk_gb_per_s(direct));
            floor.push_back(bulk_gb_per_s(least));
            relayed.push_back(bulk_gb_per_s(gate.by_address));
        }
    });
    out["gate_throughput_gb_per_s"] = median(relayed);
    out["gate_throughput_ratio"] = median(relayed) / median(plain);
    out["gate_throughput_floor_ratio"] = median(floor) / median(plain);
    out["gate_loop_p99_ms"] = quantile(late, 0.99);
}

/// As many connections as the daemon promises, all open at once, each with a byte there and back.
void measure_many(Gate& gate, Figures& out) {
    std::vector<UniqueFd> open;
    double us = 0;
    const auto late = gate.lateness_while([&] {
        const auto start = steady_clock::now();
        for (std::size_t i = 0; i < kOpen; ++i) {
            open.push_back(dial(gate.by_address));
            exchange(open.back().get());
        }
        us = us_since(start);
        for (const auto& fd : open) exchange(fd.get());
    });
    out["gate_open_connections"] = static_cast<double>(open.size());
    out["gate_open_5000_ms"] = us / 1e3;
    out["gate_open_5000_loop_p99_ms"] = quantile(late, 0.99);
}

/// Other networks for namespaces, against the same direct connection; NAN: does not run here.
void measure_peers(const Target& direct, Figures& out) {
    // Not the link: what /proc says inside is another process.
    const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::vector<double> plain;
    for (int i = 0; i < kRounds; ++i) plain.push_back(bulk_gb_per_s(direct));
    for (const auto& [peer, name] :
         {std::pair{bench::NetPeer::pasta, std::string("pasta")},
          std::pair{bench::NetPeer::slirp4netns, std::string("slirp4netns")}}) {
        const auto got = bench::through_peer(peer, self, direct.port);
        const double none = std::nan("");
        out[name + "_connect_added_us_p50"] =
            got ? got->connect_us - out.at("gate_direct_connect_us_p50") : none;
        out[name + "_throughput_ratio"] = got ? got->gb_per_s / median(plain) : none;
    }
}

/// Inside the namespace of such a network.
int as_client(const char* port) {
    const Target target{
        bench::default_gateway(), static_cast<std::uint16_t>(std::strtoul(port, nullptr, 10))
    };
    if (target.address.empty()) return 1;
    std::vector<UniqueFd> open;
    std::vector<double> connects, streams;
    for (int i = 0; i < kConnects / 4; ++i) connects.push_back(connect_us(target, open));
    for (int i = 0; i < kRounds; ++i) streams.push_back(bulk_gb_per_s(target));
    std::printf("client %f %f\n", median(connects), median(streams));
    return 0;
}

void print(bool json, const Figures& figures) {
    const char* separator = "{";
    for (const auto& [key, value] : figures) {
        const bool none = std::isnan(value);
        if (json) std::printf("%s\"%s\": ", std::exchange(separator, ", "), key.c_str());
        if (!json) std::printf("%-36s ", key.c_str());
        if (none) std::printf("%s", json ? "null" : "does not run here");
        if (!none) std::printf("%.3f", value);
        if (!json) std::printf("\n");
    }
    if (json) std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == "--client" && argc == 3) return as_client(argv[2]);
    rlimit limit{};
    (void)::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
    const auto upstream = listen_on_loopback(0);
    const Target direct{"127.0.0.1", local_endpoint(upstream.get())->port};
    // Before there are threads; its descriptors are not ours, of which 5,000 relays take 15,000.
    const pid_t server = ::fork();
    if (server == 0) serve(upstream.get());
    const auto entrance = listen_on_loopback(0);
    const Target least{"127.0.0.1", local_endpoint(entrance.get())->port};
    const pid_t relayer = ::fork();
    if (relayer == 0) relay(entrance.get(), direct);
    Figures figures;
    {
        Gate gate(direct.port);
        measure_connects(gate, direct, least, figures);
        measure_stream(gate, direct, least, figures);
        measure_many(gate, figures);
    }
    measure_peers(direct, figures);
    for (const pid_t child : {server, relayer}) (void)::kill(child, SIGKILL);
    print(mode == "--json", figures);
    return 0;
}
