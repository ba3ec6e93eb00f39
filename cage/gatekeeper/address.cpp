// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/address.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <iterator>

namespace volary::cage {
namespace {

// https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry.
constexpr const char* kSpecialBlocks[] = {
    "0.0.0.0/8",        // this network
    "10.0.0.0/8",       // private use
    "100.64.0.0/10",    // carrier-grade NAT; some clouds' metadata services live there
    "127.0.0.0/8",      // loopback
    "169.254.0.0/16",   // link-local, 169.254.169.254 above all
    "172.16.0.0/12",    // private use
    "192.0.0.0/24",     // protocol assignments
    "192.0.2.0/24",     // documentation
    "192.88.99.0/24",   // 6to4 relays
    "192.168.0.0/16",   // private use
    "198.18.0.0/15",    // benchmarking; our own fake addresses
    "198.51.100.0/24",  // documentation
    "203.0.113.0/24",   // documentation
    "224.0.0.0/4",      // multicast
    "240.0.0.0/4",      // reserved, broadcast
};

// Global unicast is 2000::/3; of that these are not plain addresses of hosts.
constexpr const char* kSpecialWithinGlobal[] = {
    "2001::/23",      // protocol assignments, Teredo
    "2001:db8::/32",  // documentation
    "2002::/16",      // 6to4: carries an IPv4 address
    "3fff::/20",      // documentation
};

bool within(const Address& address, const char* block) {
    const auto parsed = parse_block(block);
    return parsed && parsed->contains(address);
}

}  // namespace

std::string Address::text() const {
    char out[INET6_ADDRSTRLEN] = {};
    ::inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), out, sizeof out);
    return out;
}

std::optional<Address> parse_address(std::string_view text) {
    // The longest form is 45 characters (RFC 4291); inet_pton wants a terminated string.
    if (text.empty() || text.size() > 45) return std::nullopt;
    const std::string terminated(text);
    if (terminated.find('\0') != std::string::npos) return std::nullopt;
    Address address;
    address.v6 = text.find(':') != std::string_view::npos;
    const int family = address.v6 ? AF_INET6 : AF_INET;
    if (::inet_pton(family, terminated.c_str(), address.bytes.data()) != 1) return std::nullopt;
    return address;
}

bool Block::contains(const Address& address) const noexcept {
    if (address.v6 != base.v6) return false;
    const std::size_t whole = prefix / 8U;
    const unsigned rest = prefix % 8U;
    if (!std::equal(base.bytes.begin(), base.bytes.begin() + whole, address.bytes.begin()))
        return false;
    if (rest == 0) return true;
    const auto mask = static_cast<std::uint8_t>(0xFFU << (8U - rest));
    return (base.bytes[whole] & mask) == (address.bytes[whole] & mask);
}

std::optional<Block> parse_block(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto base = parse_address(text.substr(0, slash));
    if (!base) return std::nullopt;
    const auto digits = text.substr(slash + 1);
    unsigned prefix = 0;
    const auto* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, prefix);
    if (error != std::errc{} || stop != end || digits.empty()) return std::nullopt;
    const unsigned bits = base->v6 ? 128U : 32U;
    if (prefix > bits) return std::nullopt;
    for (unsigned bit = prefix; bit < bits; ++bit) {
        if ((base->bytes[bit / 8U] >> (7U - bit % 8U)) & 1U) return std::nullopt;
    }
    return Block{*base, prefix};
}

bool is_private(const Address& address) noexcept {
    const auto inside = [&](const char* block) { return within(address, block); };
    if (!address.v6) return std::ranges::any_of(kSpecialBlocks, inside);
    // Whatever is outside 2000::/3 (loopback, mapped, NAT64, unique local, link-local, multicast)
    // is refused as a whole: an allowlist cannot miss a new special block.
    if ((address.bytes[0] & 0xE0U) != 0x20U) return true;
    return std::ranges::any_of(kSpecialWithinGlobal, inside);
}

bool is_v4_mapped(const Address& address) noexcept { return within(address, "::ffff:0:0/96"); }

bool is_unspecified(const Address& address) noexcept {
    return std::ranges::all_of(address.bytes, [](std::uint8_t byte) { return byte == 0; });
}

std::string endpoint_text(const Address& address, std::uint16_t port) {
    const auto host = address.text();
    return (address.v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace volary::cage
