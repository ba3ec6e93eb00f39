// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"
#include "cage/gatekeeper/address.hpp"

#include <chrono>
#include <memory>
#include <optional>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace volary::cage {

/// A non-blocking descriptor that coroutines wait on; reads and writes are plain system calls.
/// Shared, because a deadline's handler may outlive the wait that it ends.
using Descriptor = asio::posix::stream_descriptor;
using DescriptorPtr = std::shared_ptr<Descriptor>;

DescriptorPtr make_descriptor(const asio::any_io_executor& executor, UniqueFd fd);

/// Waits until `descriptor` is ready; false when the deadline passed, or it was cancelled or
/// closed meanwhile.
asio::awaitable<bool> wait_ready(
    DescriptorPtr descriptor, Descriptor::wait_type type, std::chrono::milliseconds timeout
);

/// Connects to exactly this address and port; an empty pointer when it failed (errno of the
/// attempt is lost: the network log only says "connect").
asio::awaitable<DescriptorPtr> connect_to(
    asio::any_io_executor executor, Address address, std::uint16_t port,
    std::chrono::milliseconds timeout
);

/// Makes closing send RST instead of FIN: a refusal, not an end.
void reset_on_close(int socket) noexcept;

/// Sends small writes at once: the relay must not add Nagle's delay to the peers' own.
void send_at_once(int socket) noexcept;

/// The address and port that the accepted `socket` was connected to.
struct Endpoint {
    Address address;
    std::uint16_t port = 0;
};
std::optional<Endpoint> local_endpoint(int socket) noexcept;

}  // namespace volary::cage
