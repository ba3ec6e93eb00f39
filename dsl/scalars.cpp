// SPDX-License-Identifier: Apache-2.0
#include "dsl/scalars.hpp"

#include <algorithm>

namespace volary::dsl {
namespace {

bool valid_pointer(std::string_view text) {
    if (text.empty()) return true;
    if (text.front() != '/') return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '~') continue;
        if (i + 1 >= text.size() || (text[i + 1] != '0' && text[i + 1] != '1')) return false;
    }
    return true;
}

/// Appends one step of the short form; "~" and "/" are escaped as the RFC says.
bool append_step(std::string& out, std::string_view step) {
    if (step.empty()) return false;
    out.push_back('/');
    for (const char c : step) {
        if (c == '~') {
            out += "~0";
        } else if (c == '/') {
            out += "~1";
        } else {
            out.push_back(c);
        }
    }
    return true;
}

}  // namespace

std::optional<std::string> parse_pointer(std::string_view text) {
    if (!text.starts_with('$')) {
        return valid_pointer(text) ? std::optional(std::string(text)) : std::nullopt;
    }
    text.remove_prefix(1);
    std::string out;
    while (!text.empty()) {
        const char opener = text.front();
        text.remove_prefix(1);
        if (opener == '.') {
            const auto end = std::min(text.find_first_of(".["), text.size());
            if (!append_step(out, text.substr(0, end))) return std::nullopt;
            text.remove_prefix(end);
        } else if (opener == '[') {
            const auto end = text.find(']');
            if (end == std::string_view::npos || end == 0) return std::nullopt;
            const auto index = text.substr(0, end);
            if (index.find_first_not_of("0123456789") != std::string_view::npos)
                return std::nullopt;
            if (!append_step(out, index)) return std::nullopt;
            text.remove_prefix(end + 1);
        } else {
            return std::nullopt;
        }
    }
    return out;
}

}  // namespace volary::dsl
