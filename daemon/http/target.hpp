// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace volary::http {

/// Decodes %XX. Nothing for a malformed escape, a control character or NUL (RFC 3986, 2.1).
std::optional<std::string> percent_decode(std::string_view text);

/// Deeper than any route or page file of ours.
inline constexpr std::size_t kMaxSegments = 16;

/// The segments of an absolute path, still encoded; views into the path.
struct Segments {
    std::array<std::string_view, kMaxSegments> items;
    std::size_t count = 0;
};

/// Splits "/a/b" at its slashes. Nothing when the path is not absolute, is too deep, or has a
/// segment that is empty (but for the last), "." or ".." in any encoding, or hides a slash or a
/// backslash in an escape: no handler ever sees a path that means another one.
std::optional<Segments> split_path(std::string_view path);

/// True when every character may stand in a request target: visible ASCII but '#'.
bool is_target(std::string_view target) noexcept;

}  // namespace volary::http
