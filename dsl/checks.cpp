// SPDX-License-Identifier: Apache-2.0
#include "dsl/checks.hpp"

#include "dsl/net_rule.hpp"
#include "dsl/scalars.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

bool has_dots(std::string_view path) {
    for (const auto* part : {"/../", "/./", "//"})
        if (path.find(part) != std::string_view::npos) return true;
    return path.ends_with("/..") || path.ends_with("/.");
}

}  // namespace

std::optional<ScalarProblem> check_version(const Node& node) {
    if (node.number == 1) return std::nullopt;
    return ScalarProblem{"expected 1, the only version there is", {}};
}

std::optional<ScalarProblem> check_size(const Node& node) {
    if (parse_size(node.text)) return std::nullopt;
    return ScalarProblem{
        "expected a size such as 512M, found \"" + node.text + "\"",
        "a whole number, then nothing, K, M, G or T"
    };
}

std::optional<ScalarProblem> check_duration(const Node& node) {
    if (parse_duration(node.text)) return std::nullopt;
    return ScalarProblem{
        "expected a time such as 10m, found \"" + node.text + "\"",
        "a whole number above 0, then ms, s, m, h or d; at most 30d"
    };
}

std::optional<ScalarProblem> check_pointer(const Node& node) {
    if (parse_pointer(node.text)) return std::nullopt;
    return ScalarProblem{
        "expected a JSON pointer, found \"" + node.text + "\"", "write \"/url\" or \"$.url\""
    };
}

std::optional<ScalarProblem> check_net_rule(const Node& node) {
    auto rule = parse_net_rule(node.text);
    if (rule) return std::nullopt;
    return ScalarProblem{std::move(rule.error().message), std::move(rule.error().hint)};
}

std::optional<ScalarProblem> check_method(const Node& node) {
    const std::string_view text = node.text;
    const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
    if (text.empty() || text.size() > 16 || !std::ranges::all_of(text, letter))
        return ScalarProblem{fmt::format("expected an HTTP method, found \"{}\"", text), {}};
    if (text == "CONNECT")
        return ScalarProblem{"CONNECT makes a tunnel: nothing in it could be judged", {}};
    std::string upper(text);
    for (auto& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    if (upper == text) return std::nullopt;
    return ScalarProblem{
        fmt::format("expected an HTTP method in capitals, found \"{}\"", text),
        fmt::format("write {}", upper)
    };
}

std::optional<ScalarProblem> check_http_path(const Node& node) {
    const std::string_view text = node.text;
    const auto bad = [&](std::string hint) {
        return ScalarProblem{
            fmt::format("expected a path such as /api/*, found \"{}\"", text.substr(0, 80)),
            std::move(hint)
        };
    };
    if (!text.starts_with('/')) return bad("it begins with /");
    if (has_dots(text)) return bad("without \"..\", \".\" and doubled \"/\"");
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '*' && i + 1 == text.size()) continue;
        if (c == '*') return bad("\"*\" stands at the end only");
        if (c == '?' || c == '#') return bad("the query is not judged");
        if (c <= 0x20 || c >= 0x7F || std::string_view("\"<>[]\\^`{|}").find(c) != text.npos)
            return bad("as it is sent: other letters are written as %20");
    }
    return std::nullopt;
}

std::optional<ScalarProblem> check_device(const Node& node) {
    const std::string_view text = node.text;
    constexpr std::string_view dev = "/dev/";
    const auto fine = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("._:/-").find(c) != std::string_view::npos;
    };
    if (text.starts_with(dev) && text.size() > dev.size() && !text.ends_with('/') &&
        !has_dots(text) && std::ranges::all_of(text, fine))
        return std::nullopt;
    return ScalarProblem{
        fmt::format("expected a device, found \"{}\"", text.substr(0, 80)),
        "its absolute path in /dev, without \"..\", such as /dev/dri/renderD128"
    };
}

}  // namespace volary::dsl
