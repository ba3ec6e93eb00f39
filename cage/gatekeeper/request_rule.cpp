// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/request_rule.hpp"

#include <algorithm>

namespace volary::cage {
namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// Why `path` could be read as another one; null when it cannot.
const char* ambiguity(std::string_view path) {
    if (!path.starts_with('/')) return "the target is not a path";
    for (std::size_t i = 0; i < path.size(); ++i) {
        const char c = path[i];
        if (c == '\\') return "a backslash in the path";
        if (c == '#') return "a fragment in the target";
        if (c != '%') continue;
        if (i + 2 >= path.size()) return "a malformed escape in the path";
        const int high = hex_value(path[i + 1]);
        const int low = hex_value(path[i + 2]);
        if (high < 0 || low < 0) return "a malformed escape in the path";
        const int byte = high * 16 + low;
        if (byte == '/' || byte == '\\') return "an encoded slash in the path";
        if (byte == '.') return "an encoded dot in the path";
        if (byte == '%') return "an encoded percent sign in the path";
        if (byte == ';' || byte == '?' || byte == '#') return "an encoded delimiter in the path";
        if (byte < 0x20 || byte == 0x7F) return "an encoded control character in the path";
    }
    return nullptr;
}

/// "." and "..", bare or with path parameters ("..;x": some servers cut at the semicolon).
bool dot_segment(std::string_view segment) {
    const auto name = segment.substr(0, segment.find(';'));
    return name == "." || name == "..";
}

char folded(char c) {
    if (c == '_') return '-';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool same_field(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return folded(x) == folded(y); });
}

}  // namespace

std::vector<RequestRule> request_rules(const std::vector<NetRule>& rules) {
    std::vector<RequestRule> out;
    for (const auto& rule : rules) {
        if (rule.methods.empty() && rule.paths.empty()) return {};
        out.push_back({rule.methods, rule.paths});
    }
    return out;
}

std::optional<std::string> plain_path(std::string_view target, const char*& problem) {
    const auto path = target.substr(0, target.find('?'));
    problem = ambiguity(path);
    if (problem == nullptr && target.find('#') != std::string_view::npos)
        problem = "a fragment in the target";
    for (std::size_t at = 1; problem == nullptr && at <= path.size();) {
        const auto end = std::min(path.find('/', at), path.size());
        const auto segment = path.substr(at, end - at);
        // "/a/" ends in an empty segment, which is fine; one in between is not.
        if (segment.empty() && end < path.size()) problem = "an empty segment in the path";
        if (dot_segment(segment)) problem = "a dot segment in the path";
        at = end + 1;
    }
    if (problem != nullptr) return std::nullopt;
    return std::string(path);
}

bool allows(const std::vector<RequestRule>& rules, std::string_view method, std::string_view path) {
    const auto fits_path = [&](const std::string& rule) {
        if (!rule.ends_with('*')) return path == rule;
        return path.starts_with(std::string_view(rule).substr(0, rule.size() - 1));
    };
    const auto fits = [&](const RequestRule& rule) {
        const bool method_fits =
            rule.methods.empty() || std::ranges::find(rule.methods, method) != rule.methods.end();
        return method_fits && (rule.paths.empty() || std::ranges::any_of(rule.paths, fits_path));
    };
    return rules.empty() || std::ranges::any_of(rules, fits);
}

bool is_field_name(std::string_view name) {
    const auto fine = [](char c) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        return letter || (c >= '0' && c <= '9') || c == '-' || c == '_';
    };
    return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, fine);
}

bool frames_message(std::string_view name) {
    constexpr std::string_view kFields[] = {"host",       "content-length", "transfer-encoding",
                                            "connection", "upgrade",        "trailer",
                                            "te",         "expect",         "keep-alive"};
    return std::ranges::any_of(kFields, [&](std::string_view f) { return same_field(f, name); });
}

std::string rewrite_head(std::string_view head, const HeadChange& change) {
    std::string out;
    out.reserve(head.size() + change.header.size() + change.value.reveal().size() + 16);
    auto at = head.find("\r\n") + 2;
    out.append(head.substr(0, at));
    out.append("Host: ").append(change.host).append("\r\n");
    while (at < head.size()) {
        const auto end = head.find("\r\n", at);
        const auto line = head.substr(at, end - at);
        at = end + 2;
        if (line.empty()) break;
        const auto name = line.substr(0, line.find(':'));
        const bool dropped = same_field(name, "host") || same_field(name, "proxy-authorization") ||
                             same_field(name, change.header);
        if (!dropped) out.append(line).append("\r\n");
    }
    out.append(change.header).append(": ").append(change.value.reveal()).append("\r\n\r\n");
    return out;
}

}  // namespace volary::cage
