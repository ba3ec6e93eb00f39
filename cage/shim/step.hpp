// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <optional>
#include <string>

namespace volary::cage {

/// Why a step of a launch failed. The small programs use values, not exceptions.
struct StepError {
    std::string step;     ///< what was tried, e.g. "unshare"
    std::string subject;  ///< on what; may be empty
    int error = 0;        ///< errno
};

/// Nothing when all went well.
using StepResult = std::optional<StepError>;

/// Reads errno: must be the next call after the one that failed.
inline StepError step_error(std::string step, std::string subject = {}) {
    const int error = errno;
    return {std::move(step), std::move(subject), error};
}

}  // namespace volary::cage
