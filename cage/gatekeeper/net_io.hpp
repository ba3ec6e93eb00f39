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

/// A connection to exactly this address and port that was begun; no socket when that failed.
struct ConnectAttempt {
    DescriptorPtr socket;
    /// It stands already, as it does on loopback; else the socket becomes writable when it is
    /// decided, and connect_error() says how.
    bool connected = false;
};
/// Who speaks first on a connection. Where we do, the handshake's last packet waits for our bytes.
enum class FirstWord { theirs, ours };
ConnectAttempt start_connect(
    const asio::any_io_executor& executor, const Address& address, std::uint16_t port,
    FirstWord first
);

/// The socket's pending error, 0 for none.
int connect_error(int socket) noexcept;

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
