// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/shim/prepared.hpp"

namespace volary::cage {

/// For a child between fork and exec, on the host and in none of the shim's namespaces: becomes
/// firejail, which passes the kept descriptors on and gives volary-init its words as a file. What
/// firejail says goes to `said`. Reports on the launch's sync socket when it cannot.
[[noreturn]] void become_firejail(const wire::Launch& launch, Prepared& prepared, int said);

}  // namespace volary::cage
