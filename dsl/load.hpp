// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/diagnostic.hpp"
#include "dsl/project.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace volary::dsl {

/// Either a project or the reasons why there is none: all of them, in file order.
struct LoadResult {
    std::optional<Project> project;
    std::vector<Diagnostic> diagnostics;
};

/// Loads `root`/.volary/project.yaml (or .kaged/project.yaml when there is no .volary/) with its
/// overlay project.local.yaml. `root` may also name the project file itself. Blocking: it reads
/// two files of at most 1 MiB and stats what they refer to. Never throws for what the files say.
LoadResult load_project(const std::filesystem::path& root);

struct PolicyResult {
    std::optional<CagePolicy> policy;
    std::vector<Diagnostic> diagnostics;
};

/// Loads a file that holds one `cage` mapping alone, for `volary cage run --policy FILE`.
/// `project:/` in it is `workspace`, the folder that the cage sees as /workspace.
PolicyResult load_policy(
    const std::filesystem::path& file,
    const std::filesystem::path& workspace = std::filesystem::current_path()
);

/// JSON Schema (draft 2020-12) of a project file, made from the table that validates.
std::string json_schema();

/// The resolved project as one JSON object, keys in the vocabulary of the project file.
std::string show_json(const Project& project);

struct OriginResult {
    /// `{"key.path": {"value": ..., "origin": "project.yaml:12"}, ...}`; empty when unreadable.
    std::string json;
    std::vector<Diagnostic> diagnostics;
};

/// Every value that the merged files set, with the file and line that it came from.
OriginResult show_origin(const std::filesystem::path& root);

/// The cage card of the API: `{"disabled","hosts":[..],"folders":[{"path","mode"}],"limits":{}}`.
std::string cage_words_json(const CagePolicy& policy);

}  // namespace volary::dsl
