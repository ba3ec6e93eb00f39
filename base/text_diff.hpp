// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace volary {

/// The lines that differ, in the unified form with three lines around them; "" when nothing does.
/// `old_name` and `new_name` go into the head ("/dev/null": there is none). The work is bounded:
/// what differs in more than a thousand lines is shown as one block, the old lines and then the new
/// ones.
std::string unified_diff(
    std::string_view old_text, std::string_view new_text, std::string_view old_name,
    std::string_view new_name
);

}  // namespace volary
