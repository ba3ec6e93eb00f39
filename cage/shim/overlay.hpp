// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"
#include "cage/shim/step.hpp"

#include <vector>

namespace volary::cage {

/// Mounts the overlays of `cow` rules in a mount namespace of this process and puts each in place
/// of its source: afterwards the descriptor `fds[overlay.lower]` is the merged folder. The host
/// never sees the mounts, and they go with the last process of the namespace. Needs the
/// capabilities of enter_namespaces(). `overlay.layer` is a folder with `upper`, `work` and
/// `merged`.
StepResult mount_overlays(const std::vector<wire::Overlay>& overlays, std::vector<UniqueFd>& fds);

/// Opens what `fd` names once more, through this process's own mount namespace (a mount of another
/// namespace can neither be bound nor be layered), and checks that it is the same.
StepResult open_again(int fd, UniqueFd& out);

}  // namespace volary::cage
