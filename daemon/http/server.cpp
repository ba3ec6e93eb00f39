// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/server.hpp"

#include "base/log.hpp"
#include "daemon/http/connection.hpp"
#include "daemon/http/context.hpp"
#include "daemon/http/listen.hpp"
#include "daemon/http/socket.hpp"
#include "daemon/http/websocket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace volary::http {
namespace {

/// Deadlines are seconds; looking once a second costs less than a timer for each connection.
constexpr std::chrono::milliseconds kSweep{1'000};
/// Out of descriptors or memory: accepting again at once would only spin.
constexpr std::chrono::milliseconds kAcceptPause{100};
/// Between two rounds of accepting, so that a flood of connections does not starve requests.
constexpr int kAcceptsPerTurn = 64;

constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 81\r\n"
    "Connection: close\r\n\r\n"
    R"({"error":{"code":"unavailable","message":"too many connections","details":[]}}   )";

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Impl> {
    struct Listener {
        Listener(const asio::any_io_executor& executor, UniqueFd fd, std::string called)
            : descriptor(executor, fd.release()), pause(executor), name(std::move(called)) {}

        asio::posix::stream_descriptor descriptor;
        asio::steady_timer pause;
        std::string name;
        std::string path;  ///< of a unix socket that we made
        struct stat identity{};
    };

    explicit Impl(std::shared_ptr<ServerContext> shared)
        : context(std::move(shared)), sweeper(context->executor) {}

    void add(UniqueFd fd, std::string name, std::string path, const struct stat& identity);
    void accept_when_ready(Listener& listener);
    bool accept_some(Listener& listener);
    void adopt(UniqueFd fd, Peer peer);
    void sweep_later();
    void sweep();
    asio::awaitable<void> close();

    std::shared_ptr<ServerContext> context;
    std::list<Listener> listeners;
    asio::steady_timer sweeper;
    bool sweeping = false;
};

void Server::Impl::add(
    UniqueFd fd, std::string name, std::string path, const struct stat& identity
) {
    auto& listener = listeners.emplace_back(context->executor, std::move(fd), std::move(name));
    listener.path = std::move(path);
    listener.identity = identity;
    accept_when_ready(listener);
}

void Server::Impl::accept_when_ready(Listener& listener) {
    auto handler = [self = shared_from_this(), &listener](boost::system::error_code error) {
        if (error || self->context->closing) return;
        if (self->accept_some(listener)) return self->accept_when_ready(listener);
        listener.pause.expires_after(kAcceptPause);
        listener.pause.async_wait([self, &listener](boost::system::error_code stopped) {
            if (!stopped && !self->context->closing) self->accept_when_ready(listener);
        });
    };
    listener.descriptor.async_wait(asio::posix::stream_descriptor::wait_read, std::move(handler));
}

/// False when the process is short of something that only time mends.
bool Server::Impl::accept_some(Listener& listener) {
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
        UniqueFd fd(::accept4(
            listener.descriptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK
        ));
        if (fd) {
            try {
                auto peer = peer_of(fd.get(), listener.name);
                adopt(std::move(fd), std::move(peer));
            } catch (const Error& error) {
                log::warning("connection dropped", {{"error", error.what()}});
            }
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log::warning("cannot accept connections", {{"error", std::strerror(errno)}});
            return false;
        }
        // Anything else concerns the one connection that went away meanwhile (accept(2)).
    }
    return true;
}

void Server::Impl::adopt(UniqueFd fd, Peer peer) {
    if (context->closing) return;
    if (context->open() >= context->options.max_connections) {
        (void)::send(fd.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
    const asio::generic::stream_protocol protocol(family_of(fd.get()), 0);
    Stream socket(context->executor);
    boost::system::error_code error;
    socket.assign(protocol, fd.get(), error);
    if (error) throw Error(Errc::io, "adopting a connection: " + error.message());
    (void)fd.release();
    std::make_shared<Connection>(context, std::move(socket), std::move(peer))->start();
    sweep_later();
}

void Server::Impl::sweep_later() {
    if (sweeping || context->connections.empty()) return;
    sweeping = true;
    const auto& options = context->options;
    const auto shortest = std::min(
        {options.header_deadline, options.body_deadline, options.idle_deadline,
         options.write_deadline}
    );
    sweeper.expires_after(std::clamp(shortest / 4, std::chrono::milliseconds(1), kSweep));
    auto handler = [self = shared_from_this()](boost::system::error_code error) {
        self->sweeping = false;
        if (!error) self->sweep();
    };
    sweeper.async_wait(std::move(handler));
}

void Server::Impl::sweep() {
    const auto now = std::chrono::steady_clock::now();
    // A copy that holds them: a deadline may end any of them.
    std::vector<std::shared_ptr<Connection>> all;
    all.reserve(context->connections.size());
    for (auto* connection : context->connections) all.push_back(connection->shared_from_this());
    for (const auto& connection : all) connection->check_deadline(now);
    all.clear();
    sweep_later();
}

asio::awaitable<void> Server::Impl::close() {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    context->closing = true;
    boost::system::error_code ignored;
    for (auto& listener : listeners) {
        listener.descriptor.close(ignored);
        listener.pause.cancel();
        if (!listener.path.empty()) remove_unix(listener.path, listener.identity);
    }
    std::vector<std::shared_ptr<Connection>> all;
    for (auto* connection : context->connections) all.push_back(connection->shared_from_this());
    for (const auto& connection : all) connection->wind_down();
    all.clear();
    for (auto* socket : context->sockets) socket->close(close_code::going_away, "daemon stops");

    const auto until = std::chrono::steady_clock::now() + context->options.close_deadline;
    while (context->open() > 0 && std::chrono::steady_clock::now() < until) {
        context->drained.expires_at(until);
        co_await context->drained.async_wait(as_result);
    }
    sweeper.cancel();
    for (auto* connection : context->connections) all.push_back(connection->shared_from_this());
    for (const auto& connection : all) connection->abort();
    all.clear();
    for (auto* socket : context->sockets) socket->abort();
    co_await context->tasks.close();
}

Server::Server(
    asio::any_io_executor executor, const Router& router, Guard guard, ServerOptions options
) {
    auto context = std::make_shared<ServerContext>(
        std::move(executor), router, std::move(guard), std::move(options)
    );
    impl_ = std::make_shared<Impl>(std::move(context));
}

Server::~Server() = default;

std::uint16_t Server::listen_tcp(
    const std::string& address, std::uint16_t port, std::string listener
) {
    auto fd = listen_on_tcp(address, port);
    const auto bound = port_of(fd.get());
    impl_->add(std::move(fd), std::move(listener), {}, {});
    return bound;
}

void Server::listen_unix(const std::string& path, mode_t mode, std::string listener) {
    struct stat identity{};
    auto fd = listen_on_unix(path, mode, identity);
    impl_->add(std::move(fd), std::move(listener), path, identity);
}

void Server::listen_on(UniqueFd listening, std::string listener) {
    const int flags = ::fcntl(listening.get(), F_GETFL);
    if (flags < 0 || ::fcntl(listening.get(), F_SETFL, flags | O_NONBLOCK) != 0)
        throw_errno("fcntl", listener);
    impl_->add(std::move(listening), std::move(listener), {}, {});
}

void Server::serve(UniqueFd connection, Peer peer) {
    impl_->adopt(std::move(connection), std::move(peer));
}

std::size_t Server::connections() const noexcept { return impl_->context->open(); }

asio::awaitable<void> Server::close() { return impl_->close(); }

}  // namespace volary::http
