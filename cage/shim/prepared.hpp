// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"
#include "cage/shim/step.hpp"

#include <string>
#include <vector>

namespace volary::cage {

/// Everything that the child touches between fork and exec, made beforehand.
struct Prepared {
    std::vector<UniqueFd> fds;
    std::vector<UniqueFd> data;  ///< memfds for bwrap; the native launcher writes from memory
    UniqueFd args;
    UniqueFd sync;
    UniqueFd lifeline;              ///< the cage's end
    std::vector<int> keep;          ///< numbers that survive the exec
    std::vector<std::string> argv;  ///< of what is executed: bwrap, or volary-init
    std::vector<char*> pointers;
};

/// For a child between fork and exec: says on `sync` what volary-init would say, and exits.
[[noreturn]] void report_and_exit(int sync, const char* step, const char* subject);

/// For the same child: enters the launch's cgroups.
void join_cgroups(const wire::Launch& launch, const Prepared& prepared);

/// For the same child: the launch's descriptors become 0, 1 and 2, and `prepared.keep` survives.
void take_descriptors(const wire::Launch& launch, const Prepared& prepared);

}  // namespace volary::cage
