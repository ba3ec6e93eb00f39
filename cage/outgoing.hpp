// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/policy.hpp"
#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace volary::cage {

/// Which loopback address of the cage a socket can reach.
enum class Loopback { v4, v6 };

/// Unconnected sockets of one cage's network namespace, kept in stock so that a connection to a
/// published port costs no round trip to the shim. A socket keeps the namespace it was made in.
class OutgoingStock {
public:
    /// What the shim makes at the launch: some of each family for each published port, and no
    /// more than a browser's handful of connections at once is served by.
    static std::vector<wire::BindSpec> first_order(const std::vector<PublishedPort>& ports);

    /// The request for one more.
    static wire::BindSpec order(Loopback family);

    /// Takes a socket of either family into stock; anything else is dropped.
    void put(UniqueFd socket);

    /// Empty when none is left.
    UniqueFd take(Loopback family);

private:
    std::vector<UniqueFd> v4_, v6_;
};

/// Connects a socket of a cage to `port` of the cage's own loopback; 0 or an errno, ETIMEDOUT after
/// `timeout`. The socket stays non-blocking; a failed one is of no more use.
asio::awaitable<int> connect_loopback(
    asio::any_io_executor executor, const UniqueFd& socket, Loopback family, std::uint16_t port,
    std::chrono::milliseconds timeout
);

}  // namespace volary::cage
