// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/suggestion.hpp"
#include "base/units.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace volary::dsl {

using volary::format_duration;
using volary::format_size;
using volary::parse_duration;
using volary::parse_size;

/// A JSON pointer (RFC 6901) from "/a/b", or from the short form "$.a.b[0]"; "$" is the whole.
/// The error completes "expected ...".
std::optional<std::string> parse_pointer(std::string_view text);

}  // namespace volary::dsl
