// SPDX-License-Identifier: Apache-2.0
//
// JSON GETs a second against nginx's fixed answer, both on one thread and asked by wrk in turns,
// and the fan-out of 300-byte events to 100 WebSockets whose readers share the thread.
// Usage: http_bench [--json]. Needs /usr/bin/wrk and /usr/sbin/nginx.
#include "base/child.hpp"
#include "base/error.hpp"
#include "daemon/http/server.hpp"
#include "daemon/http/socket.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <fmt/format.h>

using namespace volary;

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kRounds = 3;  // ours and nginx take turns, so that drift hits both
constexpr std::string_view kBody =
    R"({"version":"0.1.0","epoch":"01JD0000000000000000000000","sessions":12,"working":3})";
constexpr int kSockets = 100;
constexpr std::size_t kEventBytes = 300;
constexpr int kBursts = 300;
/// What a busy turn of the loop publishes: one group commit of a few agents.
constexpr int kEventsPerBurst = 64;

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/// A folder that goes with the program.
struct Folder {
    Folder() {
        std::string name = "/tmp/volary-http-bench-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp", name);
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path;
};

void read_more(
    asio::posix::stream_descriptor& pipe, std::array<char, 4096>& buffer, std::string& out,
    asio::io_context& loop
) {
    auto handler = [&](boost::system::error_code error, std::size_t bytes) {
        out.append(buffer.data(), bytes);
        if (error) return loop.stop();
        read_more(pipe, buffer, out, loop);
    };
    pipe.async_read_some(asio::buffer(buffer), std::move(handler));
}

/// Requests a second as wrk counts them, while the loop serves.
double run_wrk(asio::io_context& loop, const std::string& url) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe2");
    UniqueFd write_end(ends[1]);
    ChildSpec spec;
    spec.argv = {"/usr/bin/wrk", "-t1", "-c32", "-d2s", url};
    spec.fds = {{write_end.get(), 1}, {write_end.get(), 2}};
    const auto wrk = Child::spawn(spec);
    write_end.reset();
    std::string text;
    std::array<char, 4096> buffer{};
    asio::posix::stream_descriptor pipe(loop, ends[0]);
    read_more(pipe, buffer, text, loop);
    loop.restart();
    loop.run();
    constexpr std::string_view key = "Requests/sec:";
    const auto at = text.find(key);
    if (at == std::string::npos || text.find("Non-2xx") != std::string::npos)
        throw Error(Errc::unavailable, "wrk says: " + text);
    return std::stod(text.substr(at + key.size()));
}

Child start_nginx(const Folder& folder, std::uint16_t port) {
    const auto file = folder.path + "/nginx.conf";
    std::ofstream(file) << fmt::format(
        "daemon off; master_process off; worker_processes 1; pid {0}/nginx.pid;\n"
        "error_log /dev/null;\nevents {{ worker_connections 1024; }}\n"
        "http {{ access_log off; keepalive_requests 100000000; default_type application/json;\n"
        "client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;\n"
        "uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n"
        "server {{ listen 127.0.0.1:{1}; location / {{ return 200 '{2}'; }} }} }}\n",
        folder.path, port, kBody
    );
    ChildSpec spec;
    spec.argv = {"/usr/sbin/nginx", "-c", file, "-e", "/dev/null"};
    return Child::spawn(spec);
}

/// A port that was free a moment ago.
std::uint16_t free_port(asio::io_context& loop, const http::Router& router) {
    http::Server probe(loop.get_executor(), router, {});
    const auto port = probe.listen_tcp("127.0.0.1", 0, "probe");
    asio::co_spawn(loop, probe.close(), [](const std::exception_ptr&) {});
    loop.restart();
    loop.poll();
    return port;
}

struct Hub {
    std::set<std::shared_ptr<http::Socket>> sockets;
};

asio::awaitable<void> join(Hub* hub, std::shared_ptr<http::Socket> socket) {
    hub->sockets.insert(socket);
    while (true) {
        const auto message = co_await socket->receive();
        if (!message) break;
    }
    hub->sockets.erase(socket);
}

UniqueFd open_socket(const std::string& path) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        throw_errno("connect", path);
    constexpr std::string_view upgrade =
        "GET /hub HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    if (::send(fd.get(), upgrade.data(), upgrade.size(), 0) < 0) throw_errno("send", path);
    return fd;
}

/// Events that all readers have received, each of which has exactly one '{'.
long drain(const std::vector<UniqueFd>& readers, std::vector<char>& buffer) {
    long events = 0;
    for (const auto& reader : readers) {
        while (true) {
            const auto got = ::recv(reader.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (got <= 0) break;
            events += std::count(buffer.data(), buffer.data() + got, '{');
        }
    }
    return events;
}

double fan_out(asio::io_context& loop, Hub& hub, const std::string& path, int per_burst) {
    std::vector<UniqueFd> readers;
    for (int i = 0; i < kSockets; ++i) readers.push_back(open_socket(path));
    std::vector<char> buffer(std::size_t{1} << 18U);
    loop.restart();
    while (hub.sockets.size() < kSockets) loop.run_one();
    (void)drain(readers, buffer);
    const std::string event = "{" + std::string(kEventBytes - 2, 'e') + "}";
    const auto start = SteadyClock::now();
    long received = 0;
    long sent = 0;
    for (int burst = 0; burst < kBursts; ++burst) {
        for (int i = 0; i < per_burst; ++i) {
            const auto shared = std::make_shared<const std::string>(event);
            for (const auto& socket : hub.sockets) sent += socket->send(shared) ? 1 : 0;
        }
        loop.poll();
        received += drain(readers, buffer);
    }
    while (received < sent) {
        loop.poll();
        received += drain(readers, buffer);
    }
    const std::chrono::duration<double> took = SteadyClock::now() - start;
    readers.clear();
    while (!hub.sockets.empty()) loop.run_one();
    return static_cast<double>(received) / took.count();
}

int run_all(bool as_json) {
    const Folder folder;
    asio::io_context loop(1);
    Hub hub;
    http::Router router;
    router.add("GET", "/api/v1/status", [](http::Request&) {
        return http::Response::json(200, std::string(kBody));
    });
    router.websocket("/hub", [&hub](std::shared_ptr<http::Socket> socket, http::Request&) {
        return join(&hub, std::move(socket));
    });
    auto guard = [](http::Request&) -> http::Verdict { return http::Proceed{}; };
    http::Server server(loop.get_executor(), router, guard);
    const auto port = server.listen_tcp("127.0.0.1", 0, "loopback");
    const auto path = folder.path + "/hub.sock";
    server.listen_unix(path, 0600, "operator");
    const auto nginx_port = free_port(loop, router);
    auto nginx = start_nginx(folder, nginx_port);

    const auto url = [](std::uint16_t on) {
        return "http://127.0.0.1:" + std::to_string(on) + "/api/v1/status";
    };
    std::vector<double> ours;
    std::vector<double> theirs;
    for (int i = 0; i < kRounds; ++i) {
        ours.push_back(run_wrk(loop, url(port)));
        theirs.push_back(run_wrk(loop, url(nginx_port)));
    }
    nginx = Child();
    const auto fanned = fan_out(loop, hub, path, kEventsPerBurst);
    const auto single = fan_out(loop, hub, path, 1);
    bool closed = false;
    asio::co_spawn(loop, server.close(), [&](const std::exception_ptr&) { closed = true; });
    loop.restart();
    while (!closed) loop.run_one();

    const double get = median(ours);
    const double nginx_get = median(theirs);
    if (as_json) {
        fmt::print(
            "{{\"http_get_per_s\":{:.0f},\"nginx_get_per_s\":{:.0f},\"http_ratio\":{:.3f},"
            "\"fanout_per_s\":{:.0f},\"fanout_single_per_s\":{:.0f}}}\n",
            get, nginx_get, get / nginx_get, fanned, single
        );
        return 0;
    }
    fmt::print("{:<44} {:>12.0f}\n", "JSON GETs a second, one thread", get);
    fmt::print("{:<44} {:>12.0f}\n", "nginx, fixed answer, one worker", nginx_get);
    fmt::print("{:<44} {:>12.2f}  (budget >= 0.8)\n", "ratio", get / nginx_get);
    fmt::print(
        "{:<44} {:>12.0f}  (budget >= 300000)\n", "events fanned out to 100 sockets/s", fanned
    );
    fmt::print("{:<44} {:>12.0f}\n", "  the same, one event a turn", single);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run_all(argc > 1 && std::string_view(argv[1]) == "--json");
    } catch (const std::exception& error) {
        fmt::print(stderr, "http_bench: {}\n", error.what());
        return 1;
    }
}
