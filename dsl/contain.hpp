// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/built_cage.hpp"
#include "dsl/project_folder.hpp"

#include <map>
#include <string>
#include <string_view>

namespace volary::dsl {

/// Who bounds a key of the cages below, and with what; empty: nobody has said anything about it.
struct Bound {
    const BuiltCage* cage = nullptr;  ///< the builder's, alive while the agents below are built
    std::string agent;                ///< path
    explicit operator bool() const noexcept { return cage != nullptr; }
};

/// What the cages of subagents may not exceed: for each key the word of the nearest agent above
/// whose own cage says it. The default policy and cage_defaults are what an agent gets, never a
/// bound.
struct CageBounds {
    Bound caged;  ///< has a cage of its own: nothing below it is without one
    Bound fs, net, seccomp, devices, require;
    std::map<std::string, Bound, std::less<>> limits;  ///< by name
};

/// Holds `cage` to `bounds`: tells where the agent's own words ask for more, and narrows in
/// silence what it merely got by default. A detached cage is left as it is.
void contain(
    BuiltCage& cage, const CageBounds& bounds, const ProjectFolder& folder, Report& report
);

/// The bounds of the agents below `agent`, whose cage is `cage`.
CageBounds bounds_below(const BuiltCage& cage, const std::string& agent, const CageBounds& above);

/// The part of contain() that knows folders (contain_fs.cpp); `bound` is not empty.
void contain_fs(BuiltCage& cage, const Bound& bound, const ProjectFolder& folder, Report& report);

/// What every refusal advises.
std::string containment_hint(const Bound& bound);

}  // namespace volary::dsl
