// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/secret.hpp"

#include <expected>
#include <string>

namespace volary::app {

/// What an operator's file of a secret holds, without the line break at its end: one line of
/// printable text. The error completes a sentence about the file: that it is not absolute, cannot
/// be opened, belongs to somebody else, or may be read by group or others (0600 is expected).
std::expected<Secret, std::string> read_secret_file(const std::string& path);

/// What is wrong with `value` as a part of a header line; empty: nothing.
std::string problem_of_secret(const std::string& value);

}  // namespace volary::app
