// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/changes.hpp"

#include <string>

namespace volary::cage {

/// What `change` is, as 40 hex digits (BLAKE2b): its path and kind, and on both sides, the layer's
/// and the host's, type, permissions and content. Of a file beyond kMaxDiffed, of which no diff is
/// ever shown, the identity, size and times stand for the content. `upper` or `lower` is the
/// open folder that holds `name`, -1 when there is none.
std::string digest_of(const Change& change, int upper, int lower, const std::string& name);

}  // namespace volary::cage
