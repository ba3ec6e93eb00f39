// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/report.hpp"
#include "dsl/yaml.hpp"

#include <string>

namespace volary::dsl {

/// Lays `overlay` over `base`: maps merge, everything else replaces, null removes. Each value keeps
/// the mark of the file that it came from. A null that removes nothing is told as a problem.
void merge_overlay(Node& base, const Node& overlay, const std::string& path, Report& report);

/// The same for `cage_defaults` below an agent's own cage, where null means "the default policy".
Node merge_cage(const Node& defaults, const Node& own);

}  // namespace volary::dsl
