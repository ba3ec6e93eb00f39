// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"

namespace volary::cage {

/// The compiled cage as steps of the native launcher, with the same indexes of descriptors and
/// data: one compiler decides what a cage is, and two builders make it. Pure. Throws Error{invalid}
/// that names an option of bwrap for which the native launcher has no step, so that nothing of a
/// policy is left out.
wire::Native to_native(const CompiledCage& compiled);

/// One step a line, for golden files.
std::string to_text(const wire::Native& native);

}  // namespace volary::cage
