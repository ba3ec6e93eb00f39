// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Where podman's root and everything that it writes lies: a tmpfs in a mount namespace that only
/// this cage's podman sees and that goes with its last process. This place, because crun refuses
/// hosts with "hybrid" cgroups although it shall not use any, and so it sees none.
namespace volary::cage::stage {

constexpr const char* kFolder = "/sys/fs/cgroup";
constexpr const char* kRoot = "/sys/fs/cgroup/root";
/// What podman makes there.
constexpr const char* kFolders[] = {"root", "state", "run", "tmp", "home", "hooks"};

}  // namespace volary::cage::stage
