// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ids.hpp"
#include "base/policy.hpp"
#include "cage/compiler.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// A protected path that nothing holds, as it was at the start.
struct UnheldPath {
    std::string path;
    PathKind kind = PathKind::absent;
    std::string target;  ///< of a link
    bool operator==(const UnheldPath&) const = default;
};

/// What a daemon must know of a cage that another daemon started: the shim keeps it as text.
struct KeptRecord {
    CageId id;
    std::string owner;  ///< of whoever asked for the cage; any text
    CageLimits limits;
    std::vector<NetRule> net;
    std::vector<std::string> internal_names;
    std::vector<PublishedPort> ports;
    std::string workspace;
    std::vector<std::string> places, writable, private_folders;
    std::vector<UnheldPath> unheld;
    std::vector<std::string> layers;  ///< words of the report
    std::string limits_backend;
    std::string layers_folder;
    std::vector<std::string> overlay_targets;
    std::int64_t made_at_us = 0;  ///< CLOCK_MONOTONIC: of this boot, as the shim is
    bool operator==(const KeptRecord&) const = default;
};

/// One JSON object.
std::string to_text(const KeptRecord& record);
/// Nothing for what is no record of this version.
std::optional<KeptRecord> parse_record(std::string_view text);

}  // namespace volary::cage
