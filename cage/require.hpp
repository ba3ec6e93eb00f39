// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"
#include "cage/limits.hpp"

#include <set>
#include <string>
#include <vector>

namespace volary::cage {

/// What this host can hold a cage with.
struct HostLayers {
    int landlock_abi = 0;
    bool notify = false;  ///< system calls told to a supervisor
    /// Controllers that a cgroup of a cage has: "memory", "pids", "cpu", "swap".
    std::set<std::string> controllers;
};

/// Looks at this host; the cgroups are those that the spawner found.
HostLayers look_at_host(const CgroupPlace& cgroups);

/// Layers that `policy.require` names and that this host does not give: each a sentence with where
/// it was required, if that is known, and what to do. Pure.
std::vector<std::string> missing_layers(const CagePolicy& policy, const HostLayers& host);

}  // namespace volary::cage
