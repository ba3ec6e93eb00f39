// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"
#include "cage/shim/protocol.hpp"

#include <utility>
#include <vector>

namespace volary::cage {

/// Everything that one launch consists of, from pure compilation to open descriptors.
struct Prepared {
    CageSpec spec;
    CompiledCage compiled;
    std::vector<UniqueFd> owned;
    std::vector<int> fds;
    wire::Launch launch;
    /// Our ends of the runner's pipes that the shim is to keep: in, out, err and perhaps signals.
    std::vector<UniqueFd> kept;
};

inline std::uint16_t add_fd(Prepared& prepared, UniqueFd fd) {
    prepared.fds.push_back(fd.get());
    prepared.owned.push_back(std::move(fd));
    return static_cast<std::uint16_t>(prepared.fds.size() - 1);
}

}  // namespace volary::cage
