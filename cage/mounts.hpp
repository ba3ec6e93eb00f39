// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"

#include <string_view>

namespace volary::cage {

/// "fs[2]", and where it was written if that is known: "fs[2] (project.yaml:12)".
std::string rule_name(std::string_view list, std::size_t index, const FsRule& rule);

/// True when `path` is absolute and has no empty, "." or ".." part.
bool is_normal(std::string_view path);

/// Every mount of the cage but /proc, /dev and the private folders' sizes, parents before
/// children. Throws as compile() does.
std::vector<Mount> plan_mounts(const CageSpec& spec, const HostView& host);

/// Protected paths that a writable bind of `mounts` shows and that nothing holds.
std::vector<std::string> unheld_paths(
    const std::string& workspace, const std::vector<Mount>& mounts, const HostView& host
);

/// True when `path` is `folder` or below it. Both absolute and normal.
bool is_beneath(std::string_view path, std::string_view folder) noexcept;

}  // namespace volary::cage
