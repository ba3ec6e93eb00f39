// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace volary::acp {

/// Bytes of the peer, and how many it has said with them.
struct Received {
    std::string bytes;
    std::uint64_t end = 0;
};

/// One line for the peer.
struct OutLine {
    std::string text;
    /// Tells it from every other line to this peer: where the wire outlives this process, a line
    /// that was taken before is not sent again. Empty: it is no loss to send it twice.
    std::string tag;
    bool sticky = false;      ///< the tag is needed as long as the peer lives
    std::uint64_t begin = 0;  ///< an answer: where the line of its request begins; else 0
};

/// What carries the lines of a Connection. Lives on its thread.
class Transport {
public:
    virtual ~Transport() = default;

    /// What comes next; nothing when the peer has closed its end, and after stop().
    virtual asio::awaitable<std::optional<Received>> read() = 0;
    /// Hands on all of them; what went wrong in words, or nothing.
    virtual asio::awaitable<std::string> write(std::deque<OutLine> lines) = 0;
    /// Ends a read() that waits.
    virtual void stop() = 0;
    virtual void close() = 0;
};

/// A pair of descriptors, owned.
std::unique_ptr<Transport> make_fd_transport(
    const asio::any_io_executor& executor, UniqueFd in, UniqueFd out
);

}  // namespace volary::acp
