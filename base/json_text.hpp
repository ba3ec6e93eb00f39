// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace volary {

/// `text` as a JSON string literal with its quotes (RFC 8259); malformed UTF-8 becomes U+FFFD.
std::string json_quote(std::string_view text);

/// Appends json_quote(text) to `out`.
void append_json_quoted(std::string& out, std::string_view text);

}  // namespace volary
