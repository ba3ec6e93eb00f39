// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/app/config.hpp"

#include <string>

namespace volary::app {

/// Runs the daemon until SIGTERM or SIGINT and returns its exit code.
///
/// Writes one line `ready URL` to `ready_fd` (standard output when negative) once every listener
/// accepts. Throws Error with one sentence that says what to do when it cannot start: as uid 0,
/// without bwrap, with a state folder that is unwritable, in use, or from a newer version.
int serve(const Config& config, int ready_fd);

}  // namespace volary::app
