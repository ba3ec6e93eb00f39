// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"

#include <string>
#include <vector>

namespace volary::cage {

/// The protected paths of one workspace (base/protected.hpp), as paths of the host.
struct ProtectedPlaces {
    /// There now: each becomes a read-only mount.
    std::vector<std::string> held;
    /// Absent, or behind a symbolic link: no mount can hold a name that is not there, so these are
    /// looked at when the cage ends.
    std::vector<std::string> unheld;
};

/// Looks for them. With more than kMaxModules submodules their common folder is held as a whole.
ProtectedPlaces find_protected(const std::string& workspace, const HostView& host);

constexpr std::size_t kMaxModules = 24;

}  // namespace volary::cage
