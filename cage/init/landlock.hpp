// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/init/options.hpp"
#include "cage/shim/step.hpp"

namespace volary::cage {

/// The kernel's Landlock ABI; 0 when it has none or it is switched off.
int landlock_abi() noexcept;

/// Restricts this process and what it starts: reading and executing everywhere the mounts allow, or
/// only below `options.readable` where there are some; writing only below `options.writable`, /dev,
/// and the files that are descriptors 0, 1 and 2. Rights that the kernel's ABI does not know are
/// left out. Needs no_new_privs.
StepResult apply_landlock(const InitOptions& options);

}  // namespace volary::cage
