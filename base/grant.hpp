// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace volary {

/// How long an operator's grant lasts.
enum class GrantScope {
    once,     ///< for the cages that live now, and gone with them
    session,  ///< also for every later cage of the agent in this session
    project   ///< written to the project file
};

/// "once", "session", "project".
std::string_view to_string(GrantScope scope) noexcept;
/// Nothing for any other word.
std::optional<GrantScope> grant_scope_from(std::string_view word) noexcept;

/// What a grant adds to a policy.
using GrantRule = std::variant<NetRule, FsRule>;

/// "net" or "fs".
std::string_view layer_of(const GrantRule& rule) noexcept;
/// As people read it: "evil.example:443", "/workspace/data ro".
std::string words_of(const GrantRule& rule);
/// Adds `rule` to `policy`; an entry for the same host and port, or the same place, is replaced.
void add_to(CagePolicy& policy, const GrantRule& rule);

}  // namespace volary
