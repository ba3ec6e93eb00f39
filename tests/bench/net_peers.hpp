// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace volary::bench {

struct NetFigures {
    double connect_us = 0;
    double gb_per_s = 0;
};

/// Other ways to give a network namespace a network without root. Both need /dev/net/tun, which is
/// often root's alone: VOLARY_BENCH_TUN may name a node of the same device that this user may open.
enum class NetPeer { pasta, slirp4netns };

/// Runs `self --client PORT` in a network namespace that `peer` connects: it finds this host's
/// loopback behind its default gateway (see default_gateway) and prints "client US GB_PER_S".
/// Nothing, and why on standard error, when the peer is not installed or does not run here.
std::optional<NetFigures> through_peer(NetPeer peer, const std::string& self, std::uint16_t port);

/// The address of the default gateway, once there is one; "" after five seconds without.
std::string default_gateway();

}  // namespace volary::bench
