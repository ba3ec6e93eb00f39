// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/event.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace volary::store {

/// SHA-256 (FIPS 180-4) of an event and, through the hash before it, of its whole session so far.
using EventHash = std::array<std::byte, 32>;

/// What stands before the first event of every session: 32 zero bytes.
inline constexpr EventHash kNoEvents{};

/// The hash of `event` after `previous`: SHA-256 of the 32 bytes of `previous` and then session,
/// seq, at, kind, actor, run and body, each as a netstring (https://cr.yp.to/proto/netstrings.txt),
/// numbers in decimal, a missing run as the empty one. docs/durability.md has the same words.
EventHash hash_after(const EventHash& previous, const EventView& event);

/// From the bytes of a column; nothing when they are not 32.
std::optional<EventHash> hash_from_bytes(std::string_view bytes);
std::string_view bytes_of(const EventHash& hash) noexcept;
std::string hex_of(const EventHash& hash);

/// Follows the log of one session event by event and says where it was changed.
class ChainCheck {
public:
    explicit ChainCheck(SessionId session) : session_(std::move(session)) {}

    /// Takes the next event as it is stored and the hash that was stored with it, 32 bytes or hex.
    /// False once the chain does not hold; problem() then says where, and more is not looked at.
    bool take(const EventView& event, std::string_view stored);

    std::int64_t events() const noexcept { return events_; }
    const EventHash& head() const noexcept { return head_; }
    /// In words; empty as long as the chain holds.
    const std::string& problem() const noexcept { return problem_; }

private:
    SessionId session_;
    std::int64_t events_ = 0;
    EventHash head_ = kNoEvents;
    std::string problem_;
};

}  // namespace volary::store
