// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "dsl/built_cage.hpp"
#include "dsl/project.hpp"
#include "dsl/project_folder.hpp"
#include "dsl/report.hpp"
#include "dsl/yaml.hpp"

#include <string>

namespace volary::dsl {

/// Turns validated nodes into the typed project: inheritance, paths, references. Tells what it
/// cannot resolve; skips what validate() has made invalid.

/// `cage` is a cage mapping with its defaults merged in, `own` what the agent itself says of it
/// (each null when there is none). Its limits are those that are written; fill_limits() does the
/// rest.
BuiltCage build_cage(
    const Node* cage, const Node* own, const std::string& path, const ProjectFolder& folder,
    Report& report
);

/// Tells what `cage` asks for beyond `ceiling`; `otherwise` is told where no key is known.
void hold_to_ceiling(
    const BuiltCage& cage, const CageCeiling& ceiling, const Said& otherwise, Report& report
);

/// The whole file. What an agent inherits (model, cage_defaults) is written into `root`, so that
/// show_origin() tells where each resolved value came from. No cage exceeds `ceiling` (null: not
/// known).
Project build_project(
    Node& root, const ProjectFolder& folder, const CageCeiling* ceiling, Report& report
);

/// The list below `interconnect`; `project.primary` must be there.
void build_interconnect(const Node& list, Project& project, Report& report);

}  // namespace volary::dsl
