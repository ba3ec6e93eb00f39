// SPDX-License-Identifier: Apache-2.0
#include "base/json_text.hpp"

#include "base/bytes.hpp"

namespace volary {
namespace {

void append_escaped(std::string& out, char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    switch (c) {
        case '"':
            out += "\\\"";
            return;
        case '\\':
            out += "\\\\";
            return;
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        case '\t':
            out += "\\t";
            return;
        default:
            break;
    }
    const auto value = static_cast<unsigned char>(c);
    out += "\\u00";
    out.push_back(digits[value >> 4U]);
    out.push_back(digits[value & 15U]);
}

}  // namespace

void append_json_quoted(std::string& out, std::string_view text) {
    std::string mended;
    if (!is_utf8(text)) {
        mended = to_valid_utf8(text);
        text = mended;
    }
    out.push_back('"');
    std::size_t from = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
        out.append(text, from, i - from);
        append_escaped(out, c);
        from = i + 1;
    }
    out.append(text, from);
    out.push_back('"');
}

std::string json_quote(std::string_view text) {
    std::string out;
    out.reserve(text.size() + 2);
    append_json_quoted(out, text);
    return out;
}

}  // namespace volary
