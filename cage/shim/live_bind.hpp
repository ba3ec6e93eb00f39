// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"

#include <sys/types.h>

namespace volary::cage {

/// Binds `source` into the mount namespace of `init`, the first process of a running cage. Two
/// processes are needed for a moment: one clones the mount in a user namespace of its own, for only
/// there it may; the other joins the namespaces of the cage, where it may attach it. Returns when
/// they have ended. A target that is missing is made when its place is the cage's own root.
wire::Mounted bind_into(const wire::Mount& request, const UniqueFd& source, pid_t init);

}  // namespace volary::cage
