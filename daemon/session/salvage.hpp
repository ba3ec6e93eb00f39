// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/ids.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace volary::session {

/// Events `first` ... `last` of a log.
struct LogRange {
    std::int64_t first = 0;
    std::int64_t last = 0;
};

struct SalvagedSession {
    SessionId id;                    ///< empty when nothing tells it any more
    std::int64_t saved = 0;          ///< events 1 ... saved; 0: none
    std::int64_t known = 0;          ///< the last event that anything told of
    std::vector<LogRange> unproven;  ///< readable behind a gap: in the file beside the database
    std::vector<LogRange> lost;
};

struct SalvageReport {
    bool was_whole = false;   ///< nothing was damaged, and nothing was changed
    std::string database;     ///< the new one
    std::string kept;         ///< the damaged one; where it was already, unless it was replaced
    std::string unproven;     ///< file with the events that nothing proves; empty: there are none
    std::string wal_problem;  ///< in words; empty: none
    std::uint64_t unreadable_pages = 0;
    std::int64_t projects = 0;
    std::vector<SalvagedSession> sessions;

    /// Every event that anything tells of is in the new database.
    bool is_complete() const;
};

/// Saves what can be saved of a damaged database: whole sessions, and of the others the longest
/// beginning whose hashes hold, marked with `session.salvaged`. States are folded anew. Launch
/// codes and signed-in devices are left behind: one of them may have been revoked. `salvage_state`
/// puts the new database in the place of the damaged one, which is kept beside it, and refuses
/// while a daemon runs there (Error{busy}); `salvage_file` writes "FILE.salvaged". Throws Error:
/// unavailable when the file cannot be read at all, conflict when the new one is there.
SalvageReport salvage_state(const std::string& folder, const Clock& clock);
SalvageReport salvage_file(const std::string& file, const Clock& clock);

}  // namespace volary::session
