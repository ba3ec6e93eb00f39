// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/store/database.hpp"

#include <cstdint>
#include <span>
#include <string>

namespace volary::store {

/// One step of the schema: number N leads from version N-1 to version N, which SQLite keeps in
/// `user_version`. A migration that has been released is never edited.
struct Migration {
    std::int64_t version;
    const char* sql;
    /// What SQL alone cannot do, after `sql` in the same transaction.
    void (*fill)(Database& db) = nullptr;
};

/// All migrations of this program, ascending from 1.
std::span<const Migration> migrations();

/// The mark of a volary database in SQLite's `application_id`: "VLRY".
constexpr std::int64_t kApplicationId = 0x564C'5259;

/// Brings `db` to the last version of `steps`, each step in a transaction of its own. A database
/// that holds something already is first copied to `<path>.bak-<version>`, so that the older
/// program can be put back together with its data. Throws Error{unavailable}, before anything is
/// written, for a version that is newer than `steps` and for tables that are not those of its
/// version; a step that fails names itself and leaves the version before it.
void migrate(Database& db, std::span<const Migration> steps);

}  // namespace volary::store
