// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/gatekeeper/net_io.hpp"

#include <chrono>
#include <vector>

namespace volary::cage {

/// The order of RFC 8305, 4: as the resolver sorted them, but families in turn. Pure.
std::vector<Address> interleave(const std::vector<Address>& addresses);

/// Connects to one of `addresses` (interleaved, the first eight): the next attempt starts when one
/// failed or after `stagger`, the first connection wins, the others are closed. An empty pointer
/// when none stands after `timeout`.
asio::awaitable<DescriptorPtr> dial_first(
    asio::any_io_executor executor, std::vector<Address> addresses, std::uint16_t port,
    FirstWord first, std::chrono::milliseconds stagger, std::chrono::milliseconds timeout
);

}  // namespace volary::cage
