// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/target.hpp"

#include "daemon/http/types.hpp"

#include <algorithm>

namespace volary::http {
namespace {

int hex_value(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_safe_segment(std::string_view segment) {
    if (segment.find('%') == std::string_view::npos)
        return segment != "." && segment != ".." && segment.find('\\') == std::string_view::npos;
    const auto decoded = percent_decode(segment);
    return decoded && *decoded != "." && *decoded != ".." &&
           decoded->find_first_of("/\\") == std::string::npos;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            if (i + 2 >= text.size()) return std::nullopt;
            const int high = hex_value(text[i + 1]);
            const int low = hex_value(text[i + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        const auto value = static_cast<unsigned char>(c);
        if (value < 0x20 || value == 0x7f) return std::nullopt;
        out.push_back(c);
    }
    return out;
}

std::optional<Segments> split_path(std::string_view path) {
    if (path.empty() || path.front() != '/') return std::nullopt;
    path.remove_prefix(1);
    Segments out;
    while (true) {
        const auto slash = path.find('/');
        const auto segment = path.substr(0, slash);
        const bool last = slash == std::string_view::npos;
        if (segment.empty() && !last) return std::nullopt;
        if (out.count == kMaxSegments || !is_safe_segment(segment)) return std::nullopt;
        out.items[out.count++] = segment;
        if (last) return out;
        path.remove_prefix(slash + 1);
    }
}

bool is_target(std::string_view target) noexcept {
    return std::all_of(target.begin(), target.end(), [](char c) {
        return c > 0x20 && c < 0x7f && c != '#';
    });
}

std::optional<std::string> Request::query_value(std::string_view key) const {
    std::string_view rest = query;
    while (!rest.empty()) {
        const auto end = rest.find('&');
        auto pair = rest.substr(0, end);
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        const auto equals = pair.find('=');
        if (pair.substr(0, equals) != key) continue;
        if (equals == std::string_view::npos) return std::string();
        std::string value(pair.substr(equals + 1));
        std::replace(value.begin(), value.end(), '+', ' ');
        return percent_decode(value);
    }
    return std::nullopt;
}

}  // namespace volary::http
