// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/found.hpp"
#include "daemon/agent/engine.hpp"

#include <optional>
#include <string>

namespace volary::agent {

/// A cage of an earlier daemon that was found.
struct Engine::Kept {
    cage::Spawner::FoundPtr found;
    std::string input;
};

/// What a cage's record says of its invocation: one JSON object.
std::string owner_text(const std::string& history, const Origin& origin, const std::string& input);

struct Owner {
    std::string history;
    Origin origin;
    std::string input;
};
/// Nothing for what owner_text() has not made.
std::optional<Owner> parse_owner(const std::string& text);

}  // namespace volary::agent
