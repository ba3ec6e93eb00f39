// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/changes.hpp"
#include "cage/layers.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// A layer and the folder that it lies on, opened. All paths below are relative to both, and
/// nothing is ever reached through a link.
struct LayerTree {
    Layer layer;
    UniqueFd upper;
    UniqueFd lower;  ///< empty when the folder is gone or a link

    /// Throws Error{io} when the layer cannot be opened.
    static LayerTree open(Layer layer);

    /// Path in the cage.
    std::string path_of(std::string_view relative) const;
    /// Why a change of `relative` is not for keeping; empty: it is.
    std::string refusal(std::string_view relative, bool removes) const;
};

/// Opens beneath `root` without following any link (openat2); empty when there is no such thing.
/// Never waits for the other end of a FIFO.
UniqueFd open_inside(int root, std::string_view relative, int flags);

/// The names in a folder, sorted; a folder of the upper layer without permissions gets them.
std::vector<std::string> sorted_names(int folder);

/// True for a folder that hides what the host has in its place (user.overlay.opaque).
bool is_opaque(int folder);

/// Changes of one layer, appended to `out` until it holds kMaxChanges.
void add_changes(const LayerTree& tree, std::vector<Change>& out);

}  // namespace volary::cage
