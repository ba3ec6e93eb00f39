// SPDX-License-Identifier: Apache-2.0
#include "base/grant.hpp"

#include <array>

namespace volary {
namespace {

constexpr std::array<std::string_view, 3> kScopes{"once", "session", "project"};

void add(CagePolicy& policy, const NetRule& rule) {
    std::erase_if(policy.net, [&](const NetRule& old) {
        return old.kind == rule.kind && old.host == rule.host && old.port == rule.port;
    });
    policy.net.push_back(rule);
}

void add(CagePolicy& policy, const FsRule& rule) {
    std::erase_if(policy.fs, [&](const FsRule& old) { return old.target == rule.target; });
    policy.fs.push_back(rule);
}

}  // namespace

std::string_view to_string(GrantScope scope) noexcept {
    return kScopes[static_cast<std::size_t>(scope)];
}

std::optional<GrantScope> grant_scope_from(std::string_view word) noexcept {
    for (std::size_t i = 0; i < kScopes.size(); ++i) {
        if (kScopes[i] == word) return static_cast<GrantScope>(i);
    }
    return std::nullopt;
}

std::string_view layer_of(const GrantRule& rule) noexcept {
    return std::holds_alternative<NetRule>(rule) ? "net" : "fs";
}

std::string words_of(const GrantRule& rule) {
    if (const auto* net = std::get_if<NetRule>(&rule)) return net->text;
    const auto& fs = std::get<FsRule>(rule);
    return fs.target + " " + std::string(to_string(fs.mode));
}

void add_to(CagePolicy& policy, const GrantRule& rule) {
    std::visit([&](const auto& one) { add(policy, one); }, rule);
}

}  // namespace volary
