// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"
#include "cage/compiler.hpp"

#include <string>
#include <string_view>

namespace volary::cage {

/// The compiled policy for people: mounts in order, network, limits, environment names, system
/// calls. Values of the environment are not shown. Throws as compile() does.
std::string explain_text(const CagePolicy& policy, const HostView& host);

/// The same as one JSON object with the keys `disabled`, `mounts` (target, kind, source, rule),
/// `network` (rules, names), `limits`, `env` (names), `seccomp`, `seccomp_add`,
/// `seccomp_remove`, `argv` (bwrap's, with places).
std::string explain_json(const CagePolicy& policy, const HostView& host);

/// Why `path`, as seen in the cage, is there or not, and what may be done with it: one sentence.
std::string explain_path(const CagePolicy& policy, std::string_view path, const HostView& host);

}  // namespace volary::cage
