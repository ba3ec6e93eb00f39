// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ids.hpp"
#include "base/policy.hpp"

#include <string>
#include <vector>

namespace volary::agent {

/// Whose files: `state: kept` goes by project and agent, else it is the session's.
struct PlaceKey {
    SessionId session;
    std::string project_root;
    std::string agent;  ///< path, e.g. "primary/scraper"
    CageState state = CageState::ephemeral;
};

/// The folder that becomes `$HOME` of the next cage, made below `homes`; "" for a private one
/// (docs/decisions/0011-kept-home.md). Throws Error{io}.
std::string home_place(const std::string& homes, const PlaceKey& key);

/// A folder for the layers of the next cage, made below `layers`; the first that no cage uses, for
/// an agent may run several times at once. Throws Error{busy} when there are too many.
std::string layers_place(const std::string& layers, const PlaceKey& key);

/// The folders that layers_place() has given out for that key and that are still there: the
/// operator looks through all of them. For cage::list_changes() and its like.
std::vector<std::string> layers_places(const std::string& layers, const PlaceKey& key);

}  // namespace volary::agent
