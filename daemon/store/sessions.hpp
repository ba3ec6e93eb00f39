// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/store/database.hpp"
#include "daemon/store/rows.hpp"

#include <optional>
#include <string>
#include <vector>

namespace volary::store {

// Reads of the projections that append_to_log() writes. Called on a worker's thread.

std::optional<SessionRow> find_session(Database& db, const SessionId& session);
SessionPage list_sessions(Database& db, const SessionFilter& filter);
std::vector<SessionRow> list_unfinished_sessions(Database& db);
std::optional<RunRow> find_run(Database& db, const RunId& run);
std::vector<RunRow> list_runs(Database& db, const SessionId& session);
std::vector<FiringRow> list_firings(Database& db, const SessionId& session);
std::optional<IdempotencyRow> find_idempotent(
    Database& db, const std::string& scope, const std::string& key
);
Counts count_rows(Database& db);

}  // namespace volary::store
