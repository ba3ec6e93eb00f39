// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/store/database.hpp"
#include "daemon/store/rows.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace volary::store {

// The network log of the cages. Called on a worker's thread, the writing one inside a transaction.

/// Adds the rows, and removes the oldest of their sessions beyond kMaxConnections.
void add_connections(Database& db, const std::vector<ConnectionRow>& rows);
/// The last `limit` of a cage, or of a whole session when `cage` is empty, newest first.
std::vector<ConnectionRow> list_connections(
    Database& db, const SessionId& session, const CageId& cage, std::int64_t limit
);
std::optional<CageRow> find_cage(Database& db, const CageId& cage);

}  // namespace volary::store
