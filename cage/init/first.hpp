// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/init/filter.hpp"
#include "cage/init/options.hpp"
#include "cage/shim/step.hpp"

#include <string>
#include <vector>

namespace volary::cage {

/// "NAME=value" entries of a file in which each ends with a zero byte.
struct Environment {
    std::string text;
    std::vector<char*> pointers;  ///< into `text`; ends with a null pointer
};

/// Reads the environment; leaves `out.pointers` empty when `file` is negative.
StepResult read_environment(int file, Environment& out);

/// For a back end that only makes namespaces and a root: does what bwrap does between these and the
/// runner. Enters the cgroups, takes 0, 1 and 2, installs the outer filter, and forks. The calling
/// process stays the first one of the pid namespace and never returns: it reaps until the runner
/// ends, or until the shim has gone. The runner goes on in the child, with a new `options.sync`.
StepResult become_first(InitOptions& options, FilterProgram& outer);

/// Sends one byte on a socket, with a descriptor beside it when that is not negative.
bool send_with(int socket, char kind, int descriptor);

}  // namespace volary::cage
