// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace volary::http {

/// WebSocket close codes that this program uses (RFC 6455, 7.4.1; 4000-4999 are ours).
namespace close_code {
inline constexpr std::uint16_t normal = 1000;
inline constexpr std::uint16_t going_away = 1001;
inline constexpr std::uint16_t policy = 1008;
inline constexpr std::uint16_t internal_error = 1011;
inline constexpr std::uint16_t signed_out = 4401;
inline constexpr std::uint16_t too_slow = 4408;
}  // namespace close_code

/// A phone that fell this far behind reconnects cheaper than it catches up.
inline constexpr std::size_t kMaxOutbox = std::size_t{4} << 20U;
/// Large enough to make the cost of a frame small, small enough for a phone to parse at once.
inline constexpr std::size_t kMaxCoalesced = std::size_t{64} << 10U;
/// What clients send are commands, not data.
inline constexpr std::size_t kMaxInboundMessage = std::size_t{64} << 10U;

/// One WebSocket, either side. One coroutine receives; anybody on the thread sends.
///
/// Text only. Pings, pongs and a peer that is silent for too long are dealt with inside.
class Socket {
public:
    virtual ~Socket() = default;

    /// The next message; nothing when the socket is closed, whoever closed it.
    virtual asio::awaitable<std::optional<std::string>> receive() = 0;

    /// Queues one message. What waits together leaves in one text frame, joined by "\n", up to
    /// kMaxCoalesced. False when the socket is closed, or when this message would exceed
    /// kMaxOutbox: the reader is too slow, and the socket closes with too_slow.
    virtual bool send(std::shared_ptr<const std::string> message) = 0;
    bool send(std::string message) {
        return send(std::make_shared<const std::string>(std::move(message)));
    }

    /// Sends what is queued, then a close frame; drops the connection when the peer does not
    /// answer it in time. Further calls do nothing.
    virtual void close(std::uint16_t code, std::string_view reason) = 0;

    virtual bool is_open() const noexcept = 0;
    /// Why it ended: the peer's code or our own; 1006 when the connection broke, 0 while open.
    virtual std::uint16_t closed_with() const noexcept = 0;
    virtual std::string closed_reason() const = 0;
    /// Bytes that wait to be sent.
    virtual std::size_t queued() const noexcept = 0;
};

}  // namespace volary::http
