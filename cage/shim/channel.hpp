// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// One packet and what came beside it.
struct Packet {
    std::string bytes;
    std::vector<UniqueFd> fds;
    int sender_pid = 0;  ///< with SO_PASSCRED: pid of the sender as the receiver sees it
};

enum class Received { packet, again, closed };

enum class Wait { yes, no };

/// Sends one packet with descriptors; false with errno set: EAGAIN when it would have had to wait
/// and may not. Never raises SIGPIPE.
bool send_packet(
    int socket, std::string_view bytes, const std::vector<int>& fds = {}, Wait wait = Wait::yes
);

/// Receives one packet of at most wire::kMaxFrame bytes; what is cut off counts as `closed`,
/// because the peer then does not speak our protocol. Descriptors arrive with CLOEXEC.
Received receive_packet(int socket, Packet& out);

}  // namespace volary::cage
