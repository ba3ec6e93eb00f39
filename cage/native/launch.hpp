// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/shim/prepared.hpp"

#include <sys/types.h>

namespace volary::cage {

/// Clones the first process of a cage as `launch.native` says: it builds the root, gives up every
/// privilege, starts volary-init (`prepared.argv`) and then only reaps, until that ends, with
/// whose status it exits. `first` is its pid. What fails later is said on `prepared.sync`.
StepResult start_native(const wire::Launch& launch, Prepared& prepared, pid_t& first);

}  // namespace volary::cage
