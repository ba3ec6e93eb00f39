// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"
#include "cage/shim/step.hpp"

#include <sys/types.h>
#include <vector>

namespace volary::cage {

/// bwrap as started: the monitor's pid, and our end of the pair on which volary-init reports.
struct Launched {
    pid_t monitor = -1;
    UniqueFd sync;
};

/// Starts bwrap as `launch` says, with `fds` as the descriptors that the launch names by index.
/// The child has no capability when it executes bwrap: bwrap refuses to run with some.
/// The descriptors of the launch that bwrap needs are closed here when this returns.
StepResult start_bwrap(const wire::Launch& launch, std::vector<UniqueFd> fds, Launched& out);

}  // namespace volary::cage
