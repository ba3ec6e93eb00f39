// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"
#include "dsl/report.hpp"
#include "dsl/yaml.hpp"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace volary::dsl {

/// Where a part of a cage was written; an empty path: nowhere, the builder made it.
struct Said {
    Mark mark;
    std::string path;
};

/// A policy together with what only its origin tells: needed to hold it against its parent's and
/// against the ceiling.
struct BuiltCage {
    CagePolicy policy;
    /// Of each entry of `policy.fs`.
    struct Place : Said {
        /// Where symlinks of the source lead, relative to the root; of ro, rw and cow entries.
        std::string resolved;
    };
    std::vector<Place> fs;
    std::vector<Said> net;  ///< of each rule of `policy.net`
    Said workspace;         ///< the entry that names the root itself
    /// Of every other key: "limits.memory", "devices[0]", "seccomp" ...
    std::map<std::string, Said, std::less<>> keys;
    /// What the agent's own cage says, its defaults left out: "fs", "net.allow", "limits.memory",
    /// "seccomp" ...
    std::set<std::string, std::less<>> own;
    bool own_cage = false;  ///< the agent has a `cage` mapping

    bool says(std::string_view key) const { return own.contains(key); }
};

/// "project.yaml:12", with the file as the report prints it.
std::string origin_of(const Mark& mark, const Report& report);

/// Reads the `net` mapping at `path` into `out`; tells what the table cannot.
void read_net(const Node& net, const std::string& path, BuiltCage& out, Report& report);

/// A value that validate() left as text, or null.
const std::string* text_of(const Node& node, std::string_view key);
/// False where there is none.
bool flag_of(const Node& node, std::string_view key);

}  // namespace volary::dsl
