// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"
#include "cage/shim/step.hpp"

namespace volary::cage {

/// Moves this single-threaded process into a user namespace that maps only the caller's own uid
/// and gid, and into a network namespace that this user namespace owns. Refuses uid 0: a cage that
/// maps to host uid 0 owns the host's files.
StepResult enter_namespaces();

/// Writes a short text in one piece.
StepResult write_file(const char* path, const char* text);

/// Brings `lo` up and makes every IPv4 and IPv6 address local to it (design.md, 6.1), and lets
/// every process of the namespace bind ports below 1024, so that a listener for a wildcard name
/// can be made after the capabilities are gone. Needs CAP_NET_ADMIN in the namespace.
StepResult set_up_loopback();

/// A socket as net_plan.hpp describes it: bound, a stream also listening; or, for an outgoing one,
/// neither. Empty with errno set.
UniqueFd bind_socket(const wire::BindSpec& spec);

/// An AF_PACKET socket that sees every frame on `lo`. Needs CAP_NET_RAW. Empty with errno set.
UniqueFd open_packet_socket();

/// Empties every capability set of this process and forbids getting new ones.
StepResult drop_capabilities();

}  // namespace volary::cage
