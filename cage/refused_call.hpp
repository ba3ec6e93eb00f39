// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/denial.hpp"
#include "cage/shim/protocol.hpp"

namespace volary::cage {

/// What the shim counted, in words: layer "syscall", "socket AF_VSOCK by python3", the rule that
/// would allow it where there is one. The command's name is the cage's own choice, so whatever is
/// not printable in it becomes "?". The cage's id is left empty.
Denial to_denial(const wire::DeniedCall& call);

}  // namespace volary::cage
