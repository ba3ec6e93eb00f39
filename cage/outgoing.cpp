// SPDX-License-Identifier: Apache-2.0
#include "cage/outgoing.hpp"

#include "cage/gatekeeper/net_io.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <utility>

namespace volary::cage {
namespace {

/// Six is what a browser opens to one site; servers on ::1 alone are rare.
constexpr std::size_t kV4PerPort = 6;
constexpr std::size_t kV6PerPort = 2;
/// A policy with many ports has one agent behind it all the same.
constexpr std::size_t kMaxStock = 24;

/// Of one cage's address `family`; -1 for what is no such socket.
int family_of(int socket) {
    int family = -1;
    socklen_t size = sizeof family;
    if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) return -1;
    return family;
}

int start_connect(int socket, Loopback family, std::uint16_t port) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr = in6addr_loopback;
    const bool is_v6 = family == Loopback::v6;
    const auto* address =
        is_v6 ? reinterpret_cast<const sockaddr*>(&v6) : reinterpret_cast<const sockaddr*>(&v4);
    const auto size = static_cast<socklen_t>(is_v6 ? sizeof v6 : sizeof v4);
    return ::connect(socket, address, size) == 0 ? 0 : errno;
}

}  // namespace

wire::BindSpec OutgoingStock::order(Loopback family) {
    return {wire::BindSpec::Kind::outgoing, family == Loopback::v6 ? "::1" : "127.0.0.1", 0};
}

std::vector<wire::BindSpec> OutgoingStock::first_order(const std::vector<PublishedPort>& ports) {
    std::vector<wire::BindSpec> out;
    const auto v4 = std::min(kMaxStock, ports.size() * kV4PerPort);
    const auto v6 = std::min(kMaxStock, ports.size() * kV6PerPort);
    out.insert(out.end(), v4, order(Loopback::v4));
    out.insert(out.end(), v6, order(Loopback::v6));
    return out;
}

void OutgoingStock::put(UniqueFd socket) {
    const int family = family_of(socket.get());
    if (family == AF_INET && v4_.size() < kMaxStock) v4_.push_back(std::move(socket));
    if (family == AF_INET6 && v6_.size() < kMaxStock) v6_.push_back(std::move(socket));
}

UniqueFd OutgoingStock::take(Loopback family) {
    auto& stock = family == Loopback::v6 ? v6_ : v4_;
    if (stock.empty()) return {};
    auto socket = std::move(stock.back());
    stock.pop_back();
    return socket;
}

asio::awaitable<int> connect_loopback(
    asio::any_io_executor executor, const UniqueFd& socket, Loopback family, std::uint16_t port,
    std::chrono::milliseconds timeout
) {
    const int raw = socket.get();
    const int started = start_connect(raw, family, port);
    send_at_once(raw);
    if (started != EINPROGRESS) co_return started;
    // Waited for on a duplicate: the caller's descriptor stays its own when the wait is cut off.
    UniqueFd copy(::fcntl(raw, F_DUPFD_CLOEXEC, 0));
    if (!copy) co_return errno;
    const auto descriptor = make_descriptor(executor, std::move(copy));
    const bool ready = co_await wait_ready(descriptor, Descriptor::wait_write, timeout);
    if (!ready) co_return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(raw, SOL_SOCKET, SO_ERROR, &error, &size) != 0) co_return errno;
    co_return error;
}

}  // namespace volary::cage
