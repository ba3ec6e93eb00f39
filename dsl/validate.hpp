// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/grammar.hpp"
#include "dsl/report.hpp"

#include <string>

namespace volary::dsl {

/// Checks `node` against the table: types, unknown, missing and not yet supported keys, patterns
/// and bounds. Tells every problem; references and paths are the builder's business. What it
/// refuses becomes Node::Kind::invalid, so that whoever reads the tree next skips it in silence.
void validate(Node& node, const Type& type, const std::string& path, Report& report);

}  // namespace volary::dsl
