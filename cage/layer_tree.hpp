// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/changes.hpp"
#include "cage/layers.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
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

/// Gives one file or folder of an upper layer, by its descriptor, the permissions of its owner that
/// are missing, and takes them away again. Never used on what is the host's.
class Unlocked {
public:
    /// `bits` of 0700.
    Unlocked(int place, mode_t bits) noexcept;
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    ~Unlocked();

private:
    int place_;  ///< the caller's
    std::optional<mode_t> before_;
};

/// Whose a folder is. The mode of a file of the layer may be changed for a moment in order to read
/// it; one of the host never.
enum class Whose { layer, host };

/// What `name` is in an open folder, not followed; empty when it is not there or cannot be seen.
std::optional<struct stat> look(int folder, const std::string& name);

/// Opens beneath `root` without following any link (openat2); empty when there is no such thing.
/// Never waits for the other end of a FIFO.
UniqueFd open_inside(int root, std::string_view relative, int flags);

/// Opens a file to read it, as open_inside().
UniqueFd open_file(int folder, std::string_view relative, Whose whose);

/// The first `most` bytes of a file; empty when it cannot be read.
std::optional<std::string> read_start(
    int folder, const std::string& name, std::size_t most, Whose whose
);

/// What a link says; empty when it is none.
std::string link_text(int folder, const std::string& name);

/// The names in a folder, sorted; empty when the user may not read it.
std::optional<std::vector<std::string>> sorted_names(int folder);

/// True for a folder that hides what the host has in its place (user.overlay.opaque).
bool is_opaque(int folder);

/// Changes of one layer, appended to `out` until it holds kMaxChanges.
void add_changes(const LayerTree& tree, std::vector<Change>& out);

}  // namespace volary::cage
