// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/grammar.hpp"

#include <optional>

namespace volary::dsl {

// What a pattern of the table cannot say about a scalar, or cannot say well (Type::check).

std::optional<ScalarProblem> check_version(const Node& node);
std::optional<ScalarProblem> check_size(const Node& node);
std::optional<ScalarProblem> check_duration(const Node& node);
std::optional<ScalarProblem> check_pointer(const Node& node);
std::optional<ScalarProblem> check_net_rule(const Node& node);
std::optional<ScalarProblem> check_method(const Node& node);
std::optional<ScalarProblem> check_http_path(const Node& node);
std::optional<ScalarProblem> check_device(const Node& node);

}  // namespace volary::dsl
