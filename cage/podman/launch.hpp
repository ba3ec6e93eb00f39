// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/shim/prepared.hpp"

namespace volary::cage {

/// For a child between fork and exec: becomes podman, in a user and a mount namespace of its own
/// in which it is root (of the caller's user, never of the host), with the root of the cage made
/// from `launch.native`. What podman says goes to `said`. Reports on the launch's sync socket when
/// it cannot.
[[noreturn]] void become_podman(const wire::Launch& launch, Prepared& prepared, int said);

}  // namespace volary::cage
