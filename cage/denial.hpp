// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ids.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace volary::cage {

/// One thing that a cage tried and was not allowed to do: the matter of a `cage.denied` event.
struct Denial {
    CageId cage;
    /// "dns", "net", "sni", "host", "http", "credential", "private", "limit" or "syscall".
    std::string layer;
    /// What was tried, in words that a rule could hold: "tcp 1.2.3.4:80", "name evil.example".
    std::string what;
    /// The line of `cage.net.allow` that would allow it, e.g. "evil.example:443"; for "syscall" the
    /// line of the policy, "seccomp: {add: [ptrace]}"; empty: none.
    std::string rule;
    /// The process that tried, best effort; empty: not known.
    std::string process;
    /// How often it happened since this (layer, what) was last told.
    std::uint32_t count = 1;
    bool operator==(const Denial&) const = default;
};

/// One connection through the gatekeeper: an entry of the cage's network log.
struct Connection {
    CageId cage;
    /// When the cage made it; milliseconds since the epoch.
    std::int64_t at_ms = 0;
    /// The name, or the address of an address or block rule.
    std::string name;
    std::uint16_t port = 0;
    std::uint64_t bytes_up = 0;             ///< cage to peer
    std::uint64_t bytes_down = 0;           ///< peer to cage
    std::chrono::milliseconds duration{0};  ///< so far, for an open one
    /// "allowed", or why it ended: "sni", "host", "http", "credential", "private", "resolve",
    /// "proxy", "connect", "tls", "limit", "idle".
    std::string verdict;
    bool open = false;
};

/// What one cage used of the network since it started.
struct NetUse {
    std::size_t open = 0;
    std::uint64_t total = 0;       ///< connections, the open ones included
    std::uint64_t bytes_up = 0;    ///< cage to peers
    std::uint64_t bytes_down = 0;  ///< peers to cage
    std::uint64_t denied = 0;      ///< attempts of every layer that the gatekeeper sees
};

}  // namespace volary::cage
