// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace volary::store {

class Database;

/// What reading a whole database gave.
struct DatabaseVerdict {
    std::int64_t version = 0;  ///< of its schema
    std::int64_t sessions = 0;
    std::int64_t events = 0;
    std::vector<std::string> problems;  ///< in words; empty: whole, and no log was changed
};

/// What stands in the folder of backups.
struct BackupFile {
    std::string name;  ///< "volary-20261121T234500Z.db"
    std::string path;
    std::uint64_t bytes = 0;
    UnixMillis at = 0;  ///< from its name
};

/// Writes a consistent copy of `db` into `folder` (0700, made when missing), checks its pages and
/// syncs it. Others may write to the database meanwhile. Throws Error{io}, Error{unavailable}; no
/// half of a file is left.
BackupFile create_backup(Database& db, const std::string& folder, UnixMillis now);

/// Where the backups of a database are: "backups" in its folder.
std::string backups_beside(const std::string& database);

/// SQLite's integrity check: problems in words, at most 20. Throws Error{unavailable} when the
/// connection is interrupted.
std::vector<std::string> check_pages(Database& db);

/// Newest first; files of other names are not looked at.
std::vector<BackupFile> list_backups(const std::string& folder);

/// Removes all but the newest `keep`; how many went.
std::size_t keep_backups(const std::string& folder, std::size_t keep);

/// SQLite's integrity check and the hashes of every log. `path` is not written to; it may be a
/// backup or the database of a stopped daemon. Throws Error{unavailable} for a file that is no
/// database of ours or cannot be opened.
DatabaseVerdict verify_database(const std::string& path);

struct Restored {
    std::string kept;  ///< where the database that was there is now; empty: there was none
    DatabaseVerdict verdict;
};

/// Puts a copy of `backup` in the place of the database of a state folder, under a new epoch: every
/// client then reads from the beginning. Refuses (and changes nothing) when a daemon runs on that
/// folder, Error{busy}, or when the backup does not verify, Error{invalid} with the problems.
/// What was there is kept beside it as "volary.db.replaced-TIME".
Restored restore_backup(const std::string& backup, const std::string& database, UnixMillis now);

}  // namespace volary::store
