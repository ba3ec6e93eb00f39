// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"

#include <string>
#include <vector>

namespace volary::cage {

/// What the shim gets for a cage that firejail makes.
struct FirejailPlan {
    std::vector<std::string> firejail;    ///< its command line, up to the program
    std::vector<wire::Argument> command;  ///< volary-init by descriptor, and the command
    std::vector<std::string> data;        ///< the cage's own, and what the plan added
};

/// The compiled cage for firejail, which has the host's root: every path is the host's own, the
/// home is /tmp, and of each folder at the top nothing is shown but what a rule binds. `joins` are
/// the indexes of cgroup.procs files that the cage enters. Pure but for `host`. Throws
/// Error{invalid} naming the rule of a path that firejail cannot show. `running` is how many
/// threads the user has already: without a user namespace of its own the kernel counts them, too.
FirejailPlan to_firejail(
    const CageSpec& spec, const CompiledCage& compiled, const std::string& program,
    const std::vector<std::uint16_t>& joins, std::size_t running, const HostView& host
);

/// Threads of this process's user on the host.
std::size_t count_user_threads();

/// For golden files: firejail's words and the command, one a line.
std::string to_text(const FirejailPlan& plan);

/// The same, put into the launch: its joins, data and command are of the plan then.
void fill_firejail(
    const CageSpec& spec, CompiledCage& compiled, const std::string& program, wire::Launch& launch
);

/// Why the program cannot be used by this process: it is not setuid root, or this process has
/// no_new_privs (as a daemon that root started); empty: it can.
std::string find_firejail_problem(const std::string& program);
/// Throws Error{unavailable} with that, or when it is not installed (an empty path).
void require_firejail(const std::string& program);

}  // namespace volary::cage
