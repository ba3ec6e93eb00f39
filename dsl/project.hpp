// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::dsl {

/// How an agent is executed.
struct Runner {
    enum class Kind {
        builtin,  ///< `volary-agent`
        acp,      ///< an ACP agent on stdio
        exec,     ///< a plain program: input on stdin, output streamed
        pty       ///< a TUI for a human
    };
    Kind kind = Kind::builtin;
    /// Program and arguments, as they are run in the cage; empty for `builtin`.
    std::vector<std::string> argv;
    bool operator==(const Runner&) const = default;
};

/// "builtin", "acp", "exec", "pty".
std::string_view to_string(Runner::Kind kind) noexcept;

/// One entry of `tools`.
struct ToolRule {
    bool enabled = true;
    std::string description;  ///< replaces the tool's own where not empty
    bool operator==(const ToolRule&) const = default;
};

/// A node of the project's tree, with everything that it inherits already in it.
struct Agent {
    std::string name;         ///< "primary", "scraper"
    std::string path;         ///< "primary", "primary/scraper"
    std::string description;  ///< shown to the parent; may be empty
    /// The model alias that is tried first; own or inherited. Empty when nobody names one.
    std::string model;
    std::vector<std::string> models;  ///< every alias in fallback order; models[0] == model
    std::string system_prompt;        ///< absolute path of the checked file; may be empty
    Runner runner;
    CagePolicy cage;
    std::map<std::string, ToolRule> tools;  ///< key: tool name or glob
    std::vector<std::string> signals;       ///< what it may emit
    std::vector<Agent> subagents;           ///< in the order of the file
    std::optional<std::uint32_t> max_steps;
    std::optional<std::uint32_t> max_output_tokens;
    std::optional<std::uint32_t> max_parallel;
    std::optional<std::chrono::milliseconds> timeout;
    bool operator==(const Agent&) const = default;
};

/// `on` a signal `from` an agent, `invoke` another one.
struct InterconnectRule {
    enum class OnLimit { hold, drop };
    std::string on;                   ///< signal name
    std::string from;                 ///< agent path or "*"
    std::string invoke;               ///< agent path
    std::vector<std::string> dedupe;  ///< JSON pointers (RFC 6901) into the signal's data
    /// How long a duplicate counts; absent: as long as the session lives.
    std::optional<std::chrono::milliseconds> dedupe_window;
    std::uint32_t max_in_flight = 1;
    std::uint32_t max_depth = 4;
    std::uint32_t max_per_minute = 30;
    OnLimit on_limit = OnLimit::hold;
    bool operator==(const InterconnectRule&) const = default;
};

/// "hold" or "drop".
std::string_view to_string(InterconnectRule::OnLimit action) noexcept;

/// A loaded, checked project: every reference resolves, every path stays beneath `root`.
struct Project {
    std::string name;
    std::string description;
    std::string root;  ///< absolute, symlinks resolved
    std::string file;  ///< the project file that was read
    Agent primary;
    std::vector<InterconnectRule> interconnect;
    bool operator==(const Project&) const = default;
};

/// The agent with that path ("primary/scraper"), or null. The pointer lives as long as `project`.
const Agent* find_agent(const Project& project, std::string_view path);

}  // namespace volary::dsl
