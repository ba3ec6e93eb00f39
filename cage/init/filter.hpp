// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/step.hpp"

#include <linux/filter.h>
#include <vector>

namespace volary::cage {

/// A BPF program of the cage's inner filter (cage/seccomp.hpp).
using FilterProgram = std::vector<sock_filter>;

/// Reads a program from an open file; empty for a descriptor below 0.
StepResult read_filter(int file, FilterProgram& out);

/// Puts the program over this process and what it starts; nothing to do for an empty one. With
/// `with_listener` the listener for its notifications is left in `listener`; its absence is an
/// error. Needs no_new_privs.
StepResult install_filter(FilterProgram& program, bool with_listener, UniqueFd& listener);

/// True when this kernel, and whatever filters this process already, allows a listener.
bool can_notify();

}  // namespace volary::cage
