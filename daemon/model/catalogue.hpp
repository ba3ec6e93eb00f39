// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace volary::model {

/// Who answers for an alias. More providers come later; each is one more kind.
enum class Provider {
    replay  ///< plays a script file, without key or network (docs/replay.md)
};

/// What an alias stands for.
struct Target {
    Provider provider = Provider::replay;
    std::filesystem::path script;  ///< replay: the script file, `<folder>/<name>.json`
};

/// The operator's models: alias -> target. Projects name aliases only.
struct Catalogue {
    std::map<std::string, Target, std::less<>> aliases;

    /// Null when there is no such alias.
    const Target* find(std::string_view alias) const;

    /// One sentence per problem (script missing or invalid, bad alias), for the start of a daemon.
    std::vector<std::string> check() const;

    /// One replay alias per `*.json` of `folder`, named after the file ("smart.json": smart).
    /// Throws Error{not_found} when the folder cannot be read.
    static Catalogue from_replay_folder(const std::filesystem::path& folder);
};

}  // namespace volary::model
