// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/bytes.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace volary {

// Sizes and times as project files, the operator's config and messages spell them.

/// "512M", "4K", "1G", "2T" (powers of 1024) or plain bytes. Nothing for what is not one, is zero
/// or needs more than 63 bits.
std::optional<ByteCount> parse_size(std::string_view text);

/// The shortest spelling that parse_size() takes back, e.g. "512M".
std::string format_size(ByteCount size);

/// "250ms", "30s", "10m", "2h", "7d"; whole and above zero, at most 30 days.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

std::string format_duration(std::chrono::milliseconds duration);

}  // namespace volary
