// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/store/draft_file.hpp"
#include "daemon/store/rows.hpp"

#include <memory>
#include <string>
#include <vector>

namespace volary::store {

class Database;

/// A new database, with an epoch of its own, that is filled with what was saved from a damaged one.
/// Blocks; for a program that does nothing else. Until publish() nothing is where it was not
/// before.
class SalvageTarget {
public:
    /// `database`: where the new one is to be.
    explicit SalvageTarget(std::string database);
    SalvageTarget(const SalvageTarget&) = delete;
    SalvageTarget& operator=(const SalvageTarget&) = delete;
    ~SalvageTarget();

    /// Errors: Store::append().
    void append(const Append& append);
    /// Answers to acts on that session, which is here.
    void keep_answers(const SessionId& session, const std::vector<IdempotencyRow>& rows);
    void put_projects(const std::vector<ProjectRow>& rows);
    void put_checkpoints(const std::vector<CheckpointRow>& rows);
    /// Those of sessions that are here; the others are left out.
    void add_connections(const std::vector<ConnectionRow>& rows);

    /// Puts it in its place, synced; gives where what was there is now (empty: nothing was there).
    std::string publish(UnixMillis now);

private:
    std::string database_;
    DraftFile draft_;
    std::unique_ptr<Database> db_;  // Closed before the draft is published or goes.
};

/// Keeps daemons away from a state folder, as long as it lives. Throws Error{busy}.
class FolderHold {
public:
    explicit FolderHold(const std::string& folder);
    FolderHold(const FolderHold&) = delete;
    FolderHold& operator=(const FolderHold&) = delete;
    ~FolderHold();

private:
    struct Held;
    std::unique_ptr<Held> held_;
};

/// True when SQLite reads all of the database and every log holds.
bool is_whole(const std::string& database);

}  // namespace volary::store
