// SPDX-License-Identifier: Apache-2.0
#include "daemon/cli/verbs.hpp"

#include <fmt/format.h>

namespace volary::cli {
namespace {

constexpr std::string_view kMark = "\xC2\xB7";  // a middle dot

/// The code point of a character that nobody sees, or that turns the order of what follows: zero
/// width, directions (as in CVE-2021-42574), tags. 0 for all others. `size` is its length.
unsigned hidden_at(std::string_view text, std::size_t& size) {
    const auto byte = [&](std::size_t i) -> unsigned {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    size = 3;
    if (byte(0) == 0xEF && byte(1) == 0xBB && byte(2) == 0xBF) return 0xFEFF;
    if (byte(0) == 0xE2 && (byte(1) == 0x80 || byte(1) == 0x81)) {
        const unsigned code = 0x2000U + (byte(1) - 0x80U) * 0x40U + (byte(2) & 0x3FU);
        const bool hidden = (code >= 0x200B && code <= 0x200F) ||
                            (code >= 0x2028 && code <= 0x202E) ||
                            (code >= 0x2060 && code <= 0x2069);
        return hidden ? code : 0;
    }
    size = 4;
    if (byte(0) == 0xF3 && byte(1) == 0xA0 && (byte(2) == 0x80 || byte(2) == 0x81))
        return 0xE0000U + (byte(2) - 0x80U) * 0x40U + (byte(3) & 0x3FU);
    return 0;
}

std::string reveal(std::string_view text, std::string_view stays) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
        std::size_t size = 0;
        if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {
            out.append(kMark);
            ++i;
        } else if (const auto code = hidden_at(text.substr(i), size); code != 0) {
            out += fmt::format("<U+{:04X}>", code);
            i += size - 1;
        } else if ((byte < 0x20 || byte == 0x7F) && stays.find(text[i]) == stays.npos) {
            out.append(kMark);
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

}  // namespace

std::string revealed(std::string_view text) { return reveal(text, "\n\t"); }

std::string revealed_line(std::string_view text) { return reveal(text, ""); }

}  // namespace volary::cli
