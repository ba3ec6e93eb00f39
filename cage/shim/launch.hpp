// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"
#include "cage/shim/step.hpp"

#include <sys/types.h>
#include <vector>

namespace volary::cage {

/// A cage as started: the pid of bwrap's monitor, of podman or of the cage's first process, and our
/// end of the pair on which volary-init reports.
struct Launched {
    pid_t monitor = -1;
    UniqueFd sync;
    UniqueFd lifeline;  ///< podman, firejail: its end ends the cage
    UniqueFd said;      ///< podman, firejail: what it says, a file
};

/// Starts bwrap, or builds the cage itself, as `launch` says, with `fds` as the descriptors that
/// the launch names by index. The child has no capability when it executes bwrap: bwrap refuses to
/// run with some. The descriptors of the launch that the cage needs are closed here when this
/// returns.
StepResult start_cage(const wire::Launch& launch, std::vector<UniqueFd> fds, Launched& out);

}  // namespace volary::cage
