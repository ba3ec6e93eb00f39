// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/bytes.hpp"

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace volary::dsl {

/// "512M", "4K", "1G", "2T" (powers of 1024) or plain bytes. Nothing for what is not one, is zero
/// or needs more than 63 bits.
std::optional<ByteCount> parse_size(std::string_view text);

/// The shortest spelling that parse_size() takes back, e.g. "512M".
std::string format_size(ByteCount size);

/// "250ms", "30s", "10m", "2h", "7d"; whole and above zero, at most 30 days.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

std::string format_duration(std::chrono::milliseconds duration);

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
