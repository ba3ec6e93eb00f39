// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/shim/prepared.hpp"

namespace volary::cage {

/// Makes the root of the cage in this process's own mount namespace and moves into it; nothing of
/// the host's tree is reachable afterwards. Runs in the first process of the cage, which holds
/// every capability in the user namespace that owns that mount namespace.
///
/// Sources are mounted by path and then compared with the descriptor that was opened beforehand: a
/// mount of another namespace cannot be cloned through its descriptor. Destinations are resolved
/// from the new root without following any link and mounted onto by descriptor.
StepResult build_root(const wire::Launch& launch, const Prepared& prepared);

/// The same tree mounted at the folder `place` (O_PATH), without moving into it: for a back end
/// that makes the namespaces by itself.
StepResult build_tree(const wire::Launch& launch, const Prepared& prepared, int place);

}  // namespace volary::cage
