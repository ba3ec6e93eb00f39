// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"

#include <string>
#include <vector>

namespace volary::cage {

/// Programs of the host that the podman back end runs.
struct PodmanPrograms {
    std::string podman;
    std::string crun;
};

/// What the shim gets for a cage that podman builds.
struct PodmanPlan {
    wire::Native root;                    ///< what the shim puts into the root beforehand
    std::vector<std::string> podman;      ///< podman's command line, up to the root
    std::vector<wire::Argument> command;  ///< volary-init as the first process, and the runner
    std::vector<std::string> data;        ///< the cage's own, and what the plan added
};

/// The compiled cage for podman. `joins` are the indexes of cgroup.procs files that the cage
/// enters. Pure. Throws Error{invalid} as to_native() does.
PodmanPlan to_podman(
    const CompiledCage& compiled, const PodmanPrograms& programs,
    const std::vector<std::uint16_t>& joins
);

/// For golden files: the root, podman's words and the command, one a line.
std::string to_text(const PodmanPlan& plan);

}  // namespace volary::cage
