// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"

#include <string_view>

namespace volary::dsl {
struct Agent;
}

namespace volary::agent {

/// The tools that volary itself gives this agent, as MCP describes tools: what its place in the
/// tree allows (a plan for the primary, subagents for a parent, signals for who declares some),
/// less what the project file switches off.
Json tools_for(const dsl::Agent& agent);

/// Whether `name` is one of tools_for(agent).
bool has_tool(const dsl::Agent& agent, std::string_view name);

}  // namespace volary::agent
