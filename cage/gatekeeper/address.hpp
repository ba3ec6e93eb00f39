// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace volary::cage {

/// An IPv4 or IPv6 address as bytes: what rules, packets and socket names have in common.
struct Address {
    bool v6 = false;
    /// Network order; IPv4 uses the first four bytes, the rest is zero.
    std::array<std::uint8_t, 16> bytes{};

    std::string text() const;
    auto operator<=>(const Address&) const = default;
};

/// Strict numeric forms of inet_pton(3): no decimal, hexadecimal or short spellings, no zone.
std::optional<Address> parse_address(std::string_view text);

/// An address block. Bits beyond `prefix` are zero.
struct Block {
    Address base;
    unsigned prefix = 0;
    bool contains(const Address& address) const noexcept;
};

/// "10.0.0.0/8"; bits beyond the prefix must be zero.
std::optional<Block> parse_block(std::string_view text);

/// True for an address that only a rule with `allow_private` may reach: everything that is not a
/// globally routed unicast address. Private, loopback, link-local (cloud metadata included),
/// carrier-grade NAT, benchmarking (our own fake addresses), documentation, multicast, reserved,
/// and every IPv6 form that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo), so
/// that no spelling of a refused address passes. Source: the IANA special-purpose registries.
bool is_private(const Address& address) noexcept;

/// True for ::ffff:0:0/96.
bool is_v4_mapped(const Address& address) noexcept;

/// 0.0.0.0 or ::.
bool is_unspecified(const Address& address) noexcept;

/// "1.2.3.4:80" or "[2001:db8::1]:80".
std::string endpoint_text(const Address& address, std::uint16_t port);

}  // namespace volary::cage
