// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace volary::cage {

/// The one name server of every cage; what its resolv.conf names.
constexpr const char* kDnsAddress = "127.0.0.53";
constexpr std::uint16_t kDnsPort = 53;
/// Where `volary.internal` and its like are served inside a cage.
constexpr std::uint16_t kInternalPort = 80;
/// Fake addresses of one cage. Wildcards hand them out at a caged process's wish, and each costs
/// the daemon two descriptors per port, so the count is bounded.
constexpr std::size_t kMaxNames = 1024;

/// One socket that the shim binds inside the cage's namespace before the runner starts.
///
/// Streams are listening. Every socket is non-blocking, close-on-exec and has SO_REUSEADDR and
/// SO_REUSEPORT: a block rule's wildcard listener and a name's own listener share a port, and the
/// kernel then prefers the more specific address. IPv6 sockets have IPV6_V6ONLY.
struct SocketSpec {
    enum class Kind { dns_udp, dns_tcp, listen };
    Kind kind = Kind::listen;
    /// Numeric, e.g. "198.18.0.3" or "fd76:6f6c:6172:7900::3"; "0.0.0.0" and "::" for blocks.
    std::string address;
    std::uint16_t port = 0;
    bool operator==(const SocketSpec&) const = default;
};

/// What a connection that arrives on a socket is for.
struct SocketTarget {
    enum class Kind { dns, internal, rule };
    Kind kind = Kind::rule;
    /// Index into the rules that the plan was made from (Kind::rule).
    std::size_t rule = 0;
    /// The name behind the fake address, or the address or block of the rule.
    std::string name;
    bool operator==(const SocketTarget&) const = default;
};

/// A name that has a fake address.
struct NameEntry {
    std::string name;
    std::string fake_v4, fake_v6;
    bool operator==(const NameEntry&) const = default;
};

/// Everything that one cage's network consists of. `sockets` is the order of the descriptors that
/// the shim hands over; `targets[i]` says what `sockets[i]` is for.
struct NetPlan {
    std::vector<SocketSpec> sockets;
    std::vector<SocketTarget> targets;
    std::vector<NameEntry> names;
};

/// The port that a rule's listeners in the cage have: the rule's own, but 80 for a `credential`
/// rule on 443, to which the cage speaks plain HTTP.
std::uint16_t listen_port(const NetRule& rule) noexcept;

/// True when both allow the same; how they are spelled and where they stand is left out.
bool same_rule(const NetRule& a, const NetRule& b);

/// The plan for `rules`: DNS over UDP and TCP on 127.0.0.53:53, an IPv4 and an IPv6 listener for
/// each internal name (port 80) and each (name, port), the very address of an address rule, a
/// wildcard listener per port of a block rule. Wildcard names get theirs when they are asked for.
/// Pure: the same input gives the same plan. Rules of one host and port share a listener.
/// Throws Error{invalid} naming the rule for a port 0, an address or block that cannot be
/// read, an IPv4-mapped or unspecified address, more than kMaxNames names, methods or paths where
/// they cannot be seen, a credential where it cannot be added, and two rules of one listener of
/// which only one has that credential.
NetPlan plan_network(
    const std::vector<NetRule>& rules, const std::vector<std::string>& internal_names
);

/// The `index`-th name's fake addresses: 198.18.0.0/15 (RFC 2544: never routed) and a unique
/// local /64 (RFC 4193), counted from 1. `index` < kMaxNames.
NameEntry fake_addresses(std::string name, std::size_t index);

}  // namespace volary::cage
