// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"

#include <string_view>

namespace volary::cage {

/// Every mount of the cage but /proc, /dev and the private folders' sizes, parents before
/// children. Throws as compile() does.
std::vector<Mount> plan_mounts(const CageSpec& spec, const HostView& host);

/// True when `path` is `folder` or below it. Both absolute and normal.
bool is_beneath(std::string_view path, std::string_view folder) noexcept;

}  // namespace volary::cage
