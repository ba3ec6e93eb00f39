// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "dsl/project.hpp"
#include "dsl/project_folder.hpp"
#include "dsl/report.hpp"

#include <filesystem>
#include <optional>
#include <string_view>

namespace volary::dsl {

/// A project together with the merged tree that it was built from, for show_origin().
struct LoadedTree {
    std::optional<Project> project;  ///< absent when the report has problems
    Node root;
};

/// load_project() with the tree kept; problems go to `report`. `text` (or null) stands for the
/// project file.
LoadedTree load_tree(
    const std::filesystem::path& root, const CageCeiling* ceiling, Report& report,
    const std::string_view* text = nullptr
);

}  // namespace volary::dsl
