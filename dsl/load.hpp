// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "dsl/diagnostic.hpp"
#include "dsl/project.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
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
/// A cage that exceeds `ceiling` is a problem at its key; null: the ceiling is not known here.
LoadResult load_project(const std::filesystem::path& root, const CageCeiling* ceiling = nullptr);

/// load_project() with `text` in place of the project file on disk (its overlay and folders are the
/// real ones): what an edit would make of the project, before it is written.
LoadResult load_project_text(
    const std::filesystem::path& root, std::string_view text, const CageCeiling* ceiling = nullptr
);

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

/// The cage card of the API: `{"disabled","hosts":[..],"folders":[{"path","mode"}],"limits":{},
/// "net":[{"rule","private","credential"}],"seccomp","state","backend","devices":[..],
/// "ports":[{"name","port","public"}]}`; and where they say something `methods` and `paths` of a
/// rule, "seccomp_add", "seccomp_remove", "require" and "detached".
std::string cage_words_json(const CagePolicy& policy);

}  // namespace volary::dsl
