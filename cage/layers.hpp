// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// The name of the layer of a `cow` rule at `target`, a path in the cage.
std::string layer_name(std::string_view target);

/// What a layer lies on; written beside it when it is made.
struct LayerPlace {
    std::string target;  ///< path in the cage
    std::string source;  ///< folder of the host
    std::string root;    ///< that `source` stays beneath; empty: none
};

/// One layer of a folder of layers.
struct Layer {
    std::string folder;  ///< holds `upper`, `work`, `merged` and `place`
    LayerPlace place;
};

/// The folder that holds the layers of one cage, locked against any other use while this lives.
class LayersFolder {
public:
    /// Makes `path` (0700) where it is missing; an empty one is a temporary folder, which the
    /// destructor removes. Throws Error{conflict} when another cage, or who keeps or drops changes,
    /// uses it.
    static LayersFolder open(std::string path);

    LayersFolder(LayersFolder&& other) noexcept;
    LayersFolder& operator=(LayersFolder&& other) noexcept = delete;
    ~LayersFolder();

    const std::string& path() const noexcept { return path_; }
    bool temporary() const noexcept { return temporary_; }

    /// The layer of that place, made where it is missing: a descriptor of its folder. Throws
    /// Error{conflict} when the layer that is there lies on another folder of the host.
    UniqueFd layer(const LayerPlace& place) const;

private:
    LayersFolder(std::string path, UniqueFd folder, bool temporary)
        : path_(std::move(path)), folder_(std::move(folder)), temporary_(temporary) {}

    std::string path_;
    UniqueFd folder_;  ///< holds the lock
    bool temporary_ = false;
};

/// The layers in `folder`; none when there is no such folder.
std::vector<Layer> layers_in(const std::string& folder);

/// Removes what an agent may have written: folders without permissions, of any depth, links (which
/// are not followed). Nothing happens when it is not there; what cannot be removed stays.
void remove_tree(const std::string& path);
/// The same for `name` in the folder behind `parent`.
void remove_tree_at(int parent, const std::string& name);

}  // namespace volary::cage
