// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/project.hpp"
#include "dsl/project_folder.hpp"
#include "dsl/report.hpp"

#include <filesystem>
#include <optional>

namespace volary::dsl {

/// A project together with the merged tree that it was built from, for show_origin().
struct LoadedTree {
    std::optional<Project> project;  ///< absent when the report has problems
    Node root;
};

/// load_project() with the tree kept; problems go to `report`.
LoadedTree load_tree(const std::filesystem::path& root, Report& report);

}  // namespace volary::dsl
