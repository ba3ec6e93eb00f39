// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/packet_watch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

namespace volary::cage {
namespace {

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kIcmpV6 = 58;
constexpr std::uint8_t kIcmpEcho = 8;
constexpr std::uint8_t kIcmpV6Echo = 128;
constexpr std::uint8_t kSynAck = 0x12;
constexpr std::uint8_t kSyn = 0x02;
constexpr std::size_t kSnap = 128;
constexpr int kMaxPerTurn = 256;

using Bytes = std::span<const std::uint8_t>;

Address address_at(Bytes packet, std::size_t at, bool v6) {
    Address address;
    address.v6 = v6;
    std::ranges::copy(packet.subspan(at, v6 ? 16 : 4), address.bytes.begin());
    return address;
}

std::optional<Attempt> parse_transport(Attempt attempt, std::uint8_t protocol, Bytes segment) {
    if (protocol == kIcmp || protocol == kIcmpV6) {
        const auto echo = protocol == kIcmp ? kIcmpEcho : kIcmpV6Echo;
        if (segment.empty() || segment[0] != echo) return std::nullopt;
        attempt.protocol = Attempt::Protocol::icmp;
        return attempt;
    }
    if (protocol != kTcp && protocol != kUdp) return std::nullopt;
    constexpr std::size_t kTcpFlags = 13;
    if (segment.size() < (protocol == kTcp ? kTcpFlags + 1 : 4)) return std::nullopt;
    if (protocol == kTcp && (segment[kTcpFlags] & kSynAck) != kSyn) return std::nullopt;
    attempt.protocol = protocol == kTcp ? Attempt::Protocol::tcp : Attempt::Protocol::udp;
    attempt.port = static_cast<std::uint16_t>(segment[2] * 256U + segment[3]);
    return attempt;
}

sock_filter statement(unsigned code, std::uint32_t k) {
    return {static_cast<std::uint16_t>(code), 0, 0, k};
}

sock_filter jump(unsigned code, std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
    return {static_cast<std::uint16_t>(code), yes, no, k};
}

}  // namespace

std::optional<Attempt> parse_packet(Bytes packet) {
    if (packet.empty()) return std::nullopt;
    Attempt attempt;
    const unsigned version = packet[0] >> 4U;
    if (version == 4) {
        const std::size_t header = (packet[0] & 0xFU) * 4U;
        if (header < 20 || packet.size() < header) return std::nullopt;
        // Later fragments have no transport header; the first one tells enough.
        if ((packet[6] & 0x1FU) != 0 || packet[7] != 0) return std::nullopt;
        attempt.source = address_at(packet, 12, false);
        attempt.target = address_at(packet, 16, false);
        if (attempt.target.bytes[0] == 127) return std::nullopt;
        return parse_transport(attempt, packet[9], packet.subspan(header));
    }
    constexpr std::size_t kV6Header = 40;
    if (version != 6 || packet.size() < kV6Header) return std::nullopt;
    attempt.source = address_at(packet, 8, true);
    attempt.target = address_at(packet, 24, true);
    if (attempt.target == parse_address("::1")) return std::nullopt;
    return parse_transport(attempt, packet[6], packet.subspan(kV6Header));
}

const char* to_string(Attempt::Protocol protocol) noexcept {
    switch (protocol) {
        case Attempt::Protocol::tcp:
            return "tcp";
        case Attempt::Protocol::udp:
            return "udp";
        case Attempt::Protocol::icmp:
            return "icmp";
    }
    return "";
}

bool filter_attempts(int packet_socket) {
    // SKF_NET_OFF counts from the IP header, with and without a link header before it.
    constexpr auto net = static_cast<std::uint32_t>(SKF_NET_OFF);
    constexpr auto ancillary = static_cast<std::uint32_t>(SKF_AD_OFF);
    constexpr unsigned load_byte = BPF_LD | BPF_B | BPF_ABS;
    constexpr unsigned if_equal = BPF_JMP | BPF_JEQ | BPF_K;
    // Jump offsets count from the next instruction; 17 accepts, 18 drops. IP options and extension
    // headers are rare: such TCP passes here and parse_packet() decides.
    const std::array<sock_filter, 19> program = {
        /* 0*/ statement(load_byte, ancillary + SKF_AD_PKTTYPE),
        // Each packet on lo is seen leaving and arriving: once is enough.
        /* 1*/ jump(if_equal, PACKET_OUTGOING, 0, 16),
        /* 2*/ statement(BPF_LD | BPF_H | BPF_ABS, ancillary + SKF_AD_PROTOCOL),
        /* 3*/ jump(if_equal, ETH_P_IP, 0, 7),
        /* 4*/ statement(load_byte, net + 9),
        /* 5*/ jump(if_equal, kTcp, 0, 11),
        /* 6*/ statement(load_byte, net),
        /* 7*/ jump(if_equal, 0x45, 0, 9),
        /* 8*/ statement(load_byte, net + 20 + 13),
        /* 9*/ statement(BPF_ALU | BPF_AND | BPF_K, kSynAck),
        /*10*/ jump(if_equal, kSyn, 6, 7),
        /*11*/ jump(if_equal, ETH_P_IPV6, 0, 6),
        /*12*/ statement(load_byte, net + 6),
        /*13*/ jump(if_equal, kTcp, 0, 3),
        /*14*/ statement(load_byte, net + 40 + 13),
        /*15*/ statement(BPF_ALU | BPF_AND | BPF_K, kSynAck),
        /*16*/ jump(if_equal, kSyn, 0, 1),
        /*17*/ statement(BPF_RET | BPF_K, kSnap),
        /*18*/ statement(BPF_RET | BPF_K, 0),
    };
    auto copy = program;
    const sock_fprog filter{static_cast<unsigned short>(copy.size()), copy.data()};
    return ::setsockopt(packet_socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
}

bool read_attempts(int packet_socket, const std::function<void(const Attempt&)>& seen) {
    int type = SOCK_DGRAM;
    socklen_t type_size = sizeof type;
    (void)::getsockopt(packet_socket, SOL_SOCKET, SO_TYPE, &type, &type_size);
    const std::size_t link = type == SOCK_RAW ? ETH_HLEN : 0;
    std::array<std::uint8_t, ETH_HLEN + 2 * kSnap> buffer{};
    for (int turn = 0; turn < kMaxPerTurn; ++turn) {
        sockaddr_ll from{};
        socklen_t from_size = sizeof from;
        const auto got = ::recvfrom(
            packet_socket, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from),
            &from_size
        );
        if (got < 0) return false;
        // Packets of before the filter was attached still carry both directions.
        if (from.sll_pkttype != PACKET_OUTGOING || static_cast<std::size_t>(got) <= link) continue;
        const Bytes whole(buffer.data(), static_cast<std::size_t>(got));
        if (const auto attempt = parse_packet(whole.subspan(link))) seen(*attempt);
    }
    return true;
}

}  // namespace volary::cage
