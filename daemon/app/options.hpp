// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace volary::app {

/// Parses the command line, runs the verb and returns the exit code: 0 ok, 1 failed, 2 usage,
/// 3 not found, 4 refused.
int run_command_line(int argc, char** argv);

}  // namespace volary::app
