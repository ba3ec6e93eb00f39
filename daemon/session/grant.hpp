// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "base/grant.hpp"
#include "daemon/session/state.hpp"
#include "dsl/project.hpp"

#include <string>
#include <vector>

namespace volary::session {

/// The rule that "host:port" means. `allow_private` is the operator's explicit word for private
/// addresses. Throws Error{invalid}: body.net is no rule, or needs that word.
NetRule make_net_grant(const std::string& text, bool allow_private);

/// The rule that "project:/data" (or "/workspace/data") and "ro" or "rw" mean. Looks at the file
/// system: blocks for microseconds. Throws Error{invalid} for what is not there or not beneath the
/// project's root, Error{denied} for a writable place that holds a protected path or lies in one.
FsRule make_fs_grant(const dsl::Project& project, const std::string& path, const std::string& mode);

/// A change of the project file that gives a rule to an agent.
struct Proposal {
    std::string before;
    std::string after;
    std::string diff;  ///< for the operator to look at
};

/// Reads the project file and works the rule into it, comments and order kept. Blocks for some
/// milliseconds. Throws Error: conflict with the diagnostics when the result would not load or the
/// rule would not count (an overlay decides), and what read_project_file() throws.
Proposal propose_edit(
    const dsl::Project& project, const CageCeiling& ceiling, const std::string& agent,
    const GrantRule& rule
);

/// What an agent's next cage gets beyond its policy: grants for the session, and those that were
/// written to the project file during this run, which keeps the file that it began with.
std::vector<GrantRule> grants_for(
    const State& state, const dsl::Project& project, const std::string& agent
);

}  // namespace volary::session
