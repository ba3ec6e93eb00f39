// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/project.hpp"
#include "dsl/project_folder.hpp"
#include "dsl/report.hpp"
#include "dsl/yaml.hpp"

#include <string>

namespace volary::dsl {

/// Turns validated nodes into the typed project: inheritance, paths, references. Tells what it
/// cannot resolve; skips what validate() has made invalid.

/// `cage` is a cage mapping with its defaults merged in (or null when there is none).
CagePolicy build_cage(
    const Node* cage, const std::string& path, const ProjectFolder& folder, Report& report
);

/// The whole file. What an agent inherits (model, cage_defaults) is written into `root`, so that
/// show_origin() tells where each resolved value came from.
Project build_project(Node& root, const ProjectFolder& folder, Report& report);

/// The list below `interconnect`; `project.primary` must be there.
void build_interconnect(const Node& list, Project& project, Report& report);

}  // namespace volary::dsl
