// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <map>
#include <string>

namespace volary::cage {
struct CageUse;
}

namespace volary::agent {

/// Every limit, text of a JSON array: `{"name","limit" (null: none),"unit"}`; units are bytes,
/// count, cpus and ms.
std::string limit_list(const CageLimits& limits);

/// What is known of a cage's use, by the names and in the units of limit_list(); cpus on average.
std::map<std::string, double> limit_use(const cage::CageUse& use);

}  // namespace volary::agent
