// SPDX-License-Identifier: Apache-2.0
#pragma once

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

/// Edit distance with swapped neighbours as one edit (optimal string alignment); stops above
/// `limit` and returns limit + 1.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit);

/// Collects candidates and keeps the one nearest to `wanted`, if it is near enough to be meant.
class Suggestion {
public:
    explicit Suggestion(std::string_view wanted);
    void offer(std::string_view candidate);
    /// "did you mean \"model\"?" or empty.
    std::string hint() const;

private:
    std::string wanted_;
    std::string best_;
    std::size_t distance_;
};

}  // namespace volary::dsl
