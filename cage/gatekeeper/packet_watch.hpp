// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/gatekeeper/address.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

namespace volary::cage {

/// One attempt to reach somebody, seen on a cage's `lo`.
struct Attempt {
    enum class Protocol { tcp, udp, icmp } protocol = Protocol::tcp;
    Address source, target;
    std::uint16_t port = 0;  ///< 0 for ICMP
    bool operator==(const Attempt&) const = default;
};

/// Reads an attempt out of one IP packet: a TCP SYN, a UDP datagram, an ICMP echo request. Nothing
/// for every other packet, fragments and loopback targets (127.0.0.0/8, ::1), which are the cage's
/// own business. The packet may be cut short behind the transport header. Pure.
std::optional<Attempt> parse_packet(std::span<const std::uint8_t> packet);

/// "tcp", "udp", "icmp".
const char* to_string(Attempt::Protocol protocol) noexcept;

/// Lets only packets through that parse_packet() may want, each once and cut to 128 bytes: without
/// it every relayed segment would be queued here. Needs no capability. False when the kernel
/// refused the filter: then the socket works, slower.
bool filter_attempts(int packet_socket);

/// Reads what is queued on the non-blocking `packet_socket` (at most 256 packets, so that a flood
/// does not hold the thread) and gives each attempt to `seen`. True when more may be queued.
bool read_attempts(int packet_socket, const std::function<void(const Attempt&)>& seen);

}  // namespace volary::cage
