// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/store/database.hpp"
#include "daemon/store/rows.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace volary::store {

// The log and what is written together with it. Called on a worker's thread, the writing ones
// inside a transaction. Errors: Store (store.hpp).

void append_to_log(Database& db, const Append& append);
void put_checkpoints(Database& db, const std::vector<CheckpointRow>& rows);

std::vector<StreamRow> list_streams(Database& db, const CageId& cage);
std::vector<CheckpointRow> list_checkpoints(Database& db, const SessionId& session);
/// Lines of an export (docs/durability.md), at most `limit` events and about 8 MiB.
std::string export_after(
    Database& db, const SessionId& session, std::int64_t after, std::int64_t limit
);
/// Reads the whole log of a session in one snapshot. Throws not_found.
ChainVerdict verify_chain(Database& db, const SessionId& session);
std::vector<Event> list_events(
    Database& db, const SessionId& session, std::int64_t after, std::int64_t limit
);
std::string page_after(
    Database& db, const SessionId& session, std::int64_t after, std::int64_t limit
);
std::string page_before(
    Database& db, const SessionId& session, std::int64_t before, std::int64_t limit
);

}  // namespace volary::store
