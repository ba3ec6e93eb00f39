// SPDX-License-Identifier: Apache-2.0
#include "dsl/project.hpp"

#include "dsl/diagnostic.hpp"

#include <fmt/format.h>

namespace volary::dsl {
namespace {

const Agent* find_below(const Agent& agent, std::string_view path) {
    if (agent.path == path) return &agent;
    for (const auto& child : agent.subagents) {
        if (path != child.path && !path.starts_with(child.path + '/')) continue;
        return find_below(child, path);
    }
    return nullptr;
}

}  // namespace

std::string Diagnostic::text() const {
    auto out = fmt::format("{}:{}:{}: ", file, line, column);
    if (!path.empty()) out += path + ": ";
    out += message;
    if (!hint.empty()) out += " (" + hint + ")";
    return out;
}

std::string_view to_string(Runner::Kind kind) noexcept {
    switch (kind) {
        case Runner::Kind::builtin:
            return "builtin";
        case Runner::Kind::acp:
            return "acp";
        case Runner::Kind::exec:
            return "exec";
        case Runner::Kind::pty:
            return "pty";
    }
    return "builtin";
}

std::string_view to_string(InterconnectRule::OnLimit action) noexcept {
    return action == InterconnectRule::OnLimit::hold ? "hold" : "drop";
}

const Agent* find_agent(const Project& project, std::string_view path) {
    return find_below(project.primary, path);
}

}  // namespace volary::dsl
