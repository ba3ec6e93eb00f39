// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.hpp"
#include "base/task_scope.hpp"
#include "base/unique_fd.hpp"
#include "cage/gatekeeper/dns.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/gatekeeper/net_io.hpp"

#include <arpa/inet.h>
#include <chrono>
#include <cstring>
#include <exception>
#include <functional>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>

namespace volary::cage::test {

using tcp = asio::ip::tcp;
using udp = asio::ip::udp;
using namespace std::chrono_literals;

inline NetRule rule(NetRule::Kind kind, std::string host, std::uint16_t port) {
    NetRule made;
    made.kind = kind;
    made.host = std::move(host);
    made.port = port;
    made.text = made.host + ":" + std::to_string(port);
    return made;
}

/// A non-blocking socket on loopback with a port of the kernel's choice, in place of one that the
/// shim would bind in a cage.
inline UniqueFd loopback_socket(int type, const std::string& address = "127.0.0.1") {
    UniqueFd fd(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    REQUIRE(::inet_pton(AF_INET, address.c_str(), &to.sin_addr) == 1);
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    if (type == SOCK_STREAM) REQUIRE(::listen(fd.get(), 16) == 0);
    return fd;
}

/// What a peer outside does with a connection: echoes, and keeps what it was sent.
class Peer {
public:
    explicit Peer(
        asio::io_context& context, const tcp::endpoint& at = {asio::ip::address_v4::loopback(), 0}
    )
        : acceptor_(context, at), scope_(context.get_executor(), log_task_errors()) {
        scope_.spawn("peer", accept());
    }
    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    std::string received;
    int connections = 0;
    /// Sent before anything is read.
    std::string greeting;
    /// Sent instead of the echo, once for each read.
    std::string fixed_answer;
    asio::awaitable<void> close() { return scope_.close(); }

private:
    asio::awaitable<void> accept() {
        for (;;) {
            auto [error, socket] = co_await acceptor_.async_accept(as_result);
            if (error) co_return;
            ++connections;
            scope_.spawn("peer connection", serve(std::move(socket)));
        }
    }
    asio::awaitable<void> serve(tcp::socket socket) {
        if (!greeting.empty())
            co_await asio::async_write(socket, asio::buffer(greeting), as_result);
        std::vector<char> buffer(65536);
        for (;;) {
            const auto [error, size] =
                co_await socket.async_read_some(asio::buffer(buffer), as_result);
            if (error) break;
            received.append(buffer.data(), size);
            const auto answer =
                fixed_answer.empty() ? std::string(buffer.data(), size) : fixed_answer;
            const auto [write_error, written] =
                co_await asio::async_write(socket, asio::buffer(answer), as_result);
            if (write_error) break;
        }
        boost::system::error_code ignored;
        socket.shutdown(tcp::socket::shutdown_send, ignored);
    }

    tcp::acceptor acceptor_;
    TaskScope scope_;
};

/// A gatekeeper with one cage whose listeners are on loopback.
class Fixture {
public:
    asio::io_context context;
    Peer peer{context};
    GatekeeperConfig config;
    std::vector<Denial> denials;
    std::vector<Connection> connections;
    std::vector<std::pair<std::string, UniqueFd>> internal;
    std::vector<SocketSpec> bound_later;
    std::vector<std::uint16_t> ports_later;  ///< of each of them
    bool refuse_binds = false;
    bool fail_internal = false;  ///< the next connection to an internal name
    NetPlan plan;
    std::vector<std::uint16_t> ports;  ///< of each socket of the plan
    std::unique_ptr<Gatekeeper> gate;
    CageId cage{"cage_01"};

    /// `address` is where the cage's listeners are.
    void start(std::vector<NetRule> rules, const std::string& address = "127.0.0.1") {
        config.hosts.try_emplace("shop.example", "127.0.0.1:" + std::to_string(peer.port()));
        GatekeeperHooks hooks;
        hooks.denied = [this](Denial denial) { denials.push_back(std::move(denial)); };
        hooks.closed = [this](Connection done) { connections.push_back(std::move(done)); };
        hooks.internal = [this](const CageId&, std::string name, UniqueFd fd) {
            if (std::exchange(fail_internal, false)) throw Error(Errc::internal, "no memory");
            internal.emplace_back(std::move(name), std::move(fd));
        };
        gate = std::make_unique<Gatekeeper>(context.get_executor(), config, std::move(hooks));
        plan = plan_network(rules, {"volary.internal"});
        std::vector<UniqueFd> sockets;
        for (const auto& spec : plan.sockets) {
            const bool datagram = spec.kind == SocketSpec::Kind::dns_udp;
            auto fd = loopback_socket(datagram ? SOCK_DGRAM : SOCK_STREAM, address);
            ports.push_back(local_endpoint(fd.get())->port);
            sockets.push_back(std::move(fd));
        }
        Gatekeeper::BindLater later = [this](SocketSpec spec, const std::string&) {
            return bind_later(spec);
        };
        gate->attach(cage, std::move(rules), plan, std::move(sockets), {}, std::move(later));
    }

    /// Where the first socket for `name` listens.
    std::uint16_t port_of(const std::string& name) const {
        for (std::size_t i = 0; i < plan.targets.size(); ++i) {
            if (plan.targets[i].name == name) return ports[i];
        }
        return 0;
    }

    /// Runs `task` to its end, then closes everything. Fails after five seconds.
    void run(asio::awaitable<void> task) {
        bool done = false;
        std::exception_ptr failure;
        auto finished = [&](const std::exception_ptr& error) {
            failure = error;
            done = true;
            context.stop();
        };
        asio::co_spawn(context, all(std::move(task)), finished);
        context.run_for(5s);
        REQUIRE(done);
        if (failure) std::rethrow_exception(failure);
    }

    asio::awaitable<tcp::socket> dial(std::uint16_t port) {
        tcp::socket socket(context);
        const tcp::endpoint to(asio::ip::address_v4::loopback(), port);
        co_await socket.async_connect(to, asio::use_awaitable);
        co_return socket;
    }

    /// Sends `text` to the listener of `name` and reads until the end: what came, and how it ended.
    struct Heard {
        std::string text;
        boost::system::error_code error;
        bool reset() const { return error == asio::error::connection_reset; }
    };
    asio::awaitable<Heard> talk(std::string name, std::string text, std::size_t enough = 0) {
        return talk_to(port_of(name), std::move(text), enough);
    }
    asio::awaitable<Heard> talk_to(std::uint16_t port, std::string text, std::size_t enough = 0) {
        tcp::socket socket(context);
        const tcp::endpoint to(asio::ip::address_v4::loopback(), port);
        Heard heard;
        // A refusal may come before this side has seen its connection stand.
        const auto [refused] = co_await socket.async_connect(to, as_result);
        heard.error = refused;
        if (!refused) co_await asio::async_write(socket, asio::buffer(text), as_result);
        std::vector<char> buffer(65536);
        while (!heard.error && (enough == 0 || heard.text.size() < enough)) {
            const auto [error, size] =
                co_await socket.async_read_some(asio::buffer(buffer), as_result);
            heard.text.append(buffer.data(), size);
            heard.error = error;
        }
        co_return heard;
    }

private:
    asio::awaitable<void> all(asio::awaitable<void> task) {
        std::exception_ptr failure;
        try {
            co_await std::move(task);
        } catch (...) {
            failure = std::current_exception();
        }
        co_await gate->close();
        co_await peer.close();
        if (failure) std::rethrow_exception(failure);
    }
    asio::awaitable<UniqueFd> bind_later(SocketSpec spec) {
        if (refuse_binds) throw Error(Errc::io, "bind " + spec.address + ": refused");
        auto fd = loopback_socket(SOCK_STREAM);
        bound_later.push_back(spec);
        ports_later.push_back(local_endpoint(fd.get())->port);
        co_return fd;
    }
};

}  // namespace volary::cage::test
