// SPDX-License-Identifier: Apache-2.0
// Whatever a cage sends on a connection with a credential: what leaves is one well-formed head for
// the rule's host with our header once; and a path that is let through has one reading.
#include "cage/gatekeeper/judge.hpp"

#include <algorithm>
#include <cstdlib>

using namespace volary;
using namespace volary::cage;

namespace {

const std::string kValue = "Bearer the-secret";

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) {
        if (c == '_') return '-';
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    });
    return text;
}

/// How often a field of that name is in the head, read by the simplest of readers.
std::size_t fields(const std::string& head, const std::string& name) {
    std::size_t count = 0;
    const auto text = lower(head);
    for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
        if (text.compare(at + 1, name.size() + 1, name + ":") == 0) ++count;
    return count;
}

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return (c | 0x20) - 'a' + 10;
}

/// As servers do it: decode once, cut path parameters, and resolve dots and doubled slashes.
std::string normalized(const std::string& path) {
    std::string decoded;
    for (std::size_t i = 0; i < path.size(); ++i) {
        if (path[i] != '%') {
            decoded += path[i] == '\\' ? '/' : path[i];
            continue;
        }
        decoded += static_cast<char>(hex(path[i + 1]) * 16 + hex(path[i + 2]));
        i += 2;
    }
    std::string out;
    for (std::size_t at = 1; at <= decoded.size();) {
        const auto end = std::min(decoded.find('/', at), decoded.size());
        auto segment = decoded.substr(at, end - at);
        const auto name = segment.substr(0, segment.find(';'));
        if (name == "..") {
            out.erase(std::min(out.rfind('/'), out.size()));
        } else if (name != "." && (!segment.empty() || end == decoded.size())) {
            out += '/';
            out += segment;
        }
        at = end + 1;
    }
    return out;
}

void check_path(const std::string& target) {
    const char* problem = nullptr;
    const auto path = plain_path(target, problem);
    if (path.has_value() == (problem != nullptr)) std::abort();
    if (!path) return;
    std::string decoded;
    for (std::size_t i = 0; i < path->size(); ++i) {
        const bool escape = (*path)[i] == '%';
        decoded +=
            escape ? static_cast<char>(hex((*path)[i + 1]) * 16 + hex((*path)[i + 2])) : (*path)[i];
        if (escape) i += 2;
    }
    if (normalized(*path) != decoded) std::abort();
}

Expectation expectation() {
    NetRule rule;
    rule.host = "shop.example";
    rule.port = 443;
    rule.credential = "api";
    auto made = expect(rule, rule.host);
    made.change = {"Authorization", Secret(kValue), "shop.example"};
    return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string stream(reinterpret_cast<const char*>(data), size);
    check_path(stream);
    ClientJudge judge(expectation());
    std::size_t passed = 0;
    while (passed < stream.size()) {
        const auto step = judge.look(std::string_view(stream).substr(passed));
        if (step.kind != ClientJudge::Step::Kind::pass) break;
        passed += step.bytes;
        if (judge.awaiting_upgrade()) judge.upgrade_answered(false);
        if (step.instead.empty()) continue;
        const auto& head = step.instead.reveal();
        const auto read = parse_http_head(head);
        if (read.state != HttpHeadResult::State::done || read.head.size != head.size())
            std::abort();
        if (read.head.host != "shop.example" || read.head.port) std::abort();
        if (fields(head, "authorization") != 1 || fields(head, "host") != 1) std::abort();
        if (fields(head, "proxy-authorization") != 0 || head.find(kValue) == std::string::npos)
            std::abort();
    }
    return 0;
}
