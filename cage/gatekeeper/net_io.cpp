// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/net_io.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/steady_timer.hpp>

namespace volary::cage {
namespace {

/// Fills `storage`; gives its size.
socklen_t to_sockaddr(const Address& address, std::uint16_t port, sockaddr_storage& storage) {
    if (address.v6) {
        auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, address.bytes.data(), 16);
        return sizeof v6;
    }
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.bytes.data(), 4);
    return sizeof v4;
}

}  // namespace

DescriptorPtr make_descriptor(const asio::any_io_executor& executor, UniqueFd fd) {
    auto made = std::make_shared<Descriptor>(executor);
    made->assign(fd.get());
    (void)fd.release();
    return made;
}

asio::awaitable<bool> wait_ready(
    DescriptorPtr descriptor, Descriptor::wait_type type, std::chrono::milliseconds timeout
) {
    asio::steady_timer deadline(descriptor->get_executor(), timeout);
    auto expire = [descriptor](const boost::system::error_code& error) {
        boost::system::error_code ignored;
        if (!error) descriptor->cancel(ignored);
    };
    deadline.async_wait(std::move(expire));
    const auto [error] = co_await descriptor->async_wait(type, as_result);
    co_return !error;
}

ConnectAttempt start_connect(
    const asio::any_io_executor& executor, const Address& address, std::uint16_t port,
    FirstWord first
) {
    const int family = address.v6 ? AF_INET6 : AF_INET;
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return {};
    sockaddr_storage storage{};
    const auto size = to_sockaddr(address, port, storage);
    const auto* to = reinterpret_cast<const sockaddr*>(&storage);
    const int off = 0;
    if (first == FirstWord::ours)
        (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
    bool connected = ::connect(fd.get(), to, size) == 0;
    if (!connected && errno != EINPROGRESS) return {};
    if (!connected) {
        // Over loopback it is decided by now, which asking again tells: it saves a turn of the
        // loop.
        connected = ::connect(fd.get(), to, size) == 0 || errno == EISCONN;
        if (!connected && errno != EALREADY && errno != EINPROGRESS) return {};
    }
    return {make_descriptor(executor, std::move(fd)), connected};
}

int connect_error(int socket) noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
}

void reset_on_close(int socket) noexcept {
    const linger now{1, 0};
    (void)::setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void send_at_once(int socket) noexcept {
    const int on = 1;
    (void)::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

std::optional<Endpoint> local_endpoint(int socket) noexcept {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0)
        return std::nullopt;
    Endpoint endpoint;
    if (storage.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
        endpoint.address.v6 = true;
        std::memcpy(endpoint.address.bytes.data(), &v6.sin6_addr, 16);
        endpoint.port = ntohs(v6.sin6_port);
    } else if (storage.ss_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
        std::memcpy(endpoint.address.bytes.data(), &v4.sin_addr, 4);
        endpoint.port = ntohs(v4.sin_port);
    } else {
        return std::nullopt;
    }
    return endpoint;
}

}  // namespace volary::cage
