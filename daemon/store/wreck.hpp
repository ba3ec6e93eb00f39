// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "daemon/store/chain.hpp"
#include "daemon/store/page.hpp"
#include "daemon/store/rows.hpp"
#include "daemon/store/wal.hpp"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace volary::store {

struct SeqRange {
    std::int64_t first = 0;
    std::int64_t last = 0;
    bool operator==(const SeqRange&) const = default;
};

/// What is left of one session.
struct SessionWreck {
    std::int64_t no = 0;          ///< its number in the database
    SessionId id;                 ///< empty when nothing tells it any more
    std::int64_t verified = 0;    ///< events 1 ... verified are what was written, by their hashes
    EventHash head = kNoEvents;   ///< of the last of them
    std::int64_t known = 0;       ///< the last event that anything tells of
    std::vector<SeqRange> loose;  ///< readable ones behind a gap: nothing proves them
    std::vector<SeqRange> lost;   ///< of which nothing is left

    bool is_whole() const noexcept { return verified > 0 && verified == known; }
};

/// A damaged database, read page by page without SQLite: each row that a readable page has,
/// whatever the tables' trees look like. Of events, also what stands in older pages of the
/// write-ahead log counts: their hashes prove them. Nothing is written to the file. Where it can be
/// used: on a stopped daemon's file or a backup, of schema version 3 or later.
class Wreck {
public:
    /// Reads every page. Throws Error{unavailable} when the file cannot be opened or is empty.
    explicit Wreck(const std::string& path);

    /// By number.
    const std::vector<SessionWreck>& sessions() const noexcept { return sessions_; }
    /// Those of a session's events that can be read; of the verified ones exactly what was written.
    std::vector<Event> events(const SessionWreck& session, SeqRange range) const;

    const std::vector<ProjectRow>& projects() const noexcept { return projects_; }
    const std::vector<ConnectionRow>& connections() const noexcept { return connections_; }
    const std::vector<CheckpointRow>& checkpoints() const noexcept { return checkpoints_; }
    /// With the scope and key of each.
    const std::vector<IdempotencyRow>& answers() const noexcept { return answers_; }

    std::uint64_t pages() const noexcept { return pages_; }
    /// Pages that the disk does not give.
    std::uint64_t unreadable_pages() const noexcept { return unreadable_; }
    /// What is wrong with the write-ahead log, in words.
    const std::string& wal_problem() const noexcept { return wal_.problem; }

private:
    /// Where a page's bytes are.
    struct Place {
        bool in_wal = false;
        std::uint64_t at = 0;
    };
    /// Which copy of a page counts when the log has several.
    enum class Copy {
        committed,  ///< the newest that SQLite sees
        last        ///< the last one in the log, behind a break, too
    };
    /// Where an event may be read.
    struct Candidate {
        std::int64_t session = 0;
        std::int64_t seq = 0;
        Place place;
        std::uint32_t page = 0;
        std::uint16_t cell = 0;
        std::uint64_t order = 0;      ///< of the reading: pages that count come first
        bool proven = false;          ///< its hash follows from all before it
        Copy copy = Copy::committed;  ///< with which it was proven
    };
    struct Known {
        std::set<std::string> ids;
        std::int64_t last_seq = 0;
    };
    struct Read {
        Event event;
        std::string hash;
    };

    std::optional<std::string> read_place(Place place) const;
    std::optional<std::string> read_page(std::uint32_t number, Copy copy) const;
    ReadPage reader(Copy copy) const;
    void scan();
    void scan_page(std::string_view page, std::uint32_t number, Place place, bool is_current);
    bool take_event(const Cell& cell, const Candidate& candidate);
    void take_row(const Cell& cell, bool is_current);
    void take_long(const Cell& cell, const std::vector<Value>& head);
    void take_index(const std::vector<Value>& row);
    void take_table(const Cell& cell, const std::vector<Value>& row, bool is_current);
    std::optional<Read> read_event(const Candidate& candidate, const std::string& id, Copy copy)
        const;
    std::optional<Read> read_any(const Candidate& candidate, const std::string& id) const;
    static bool proves(const SessionWreck& session, const Read& read, EventHash& hash);
    void follow(SessionWreck& session);
    void follow_as(SessionWreck& session, const std::string& id);
    void find_gaps(SessionWreck& session) const;
    std::vector<Candidate>::const_iterator first_of(std::int64_t no, std::int64_t seq) const;

    UniqueFd file_;
    UniqueFd log_;
    WalReading wal_;
    std::map<std::uint32_t, std::uint64_t> newest_;  ///< page -> its committed bytes in the log
    std::map<std::uint32_t, std::uint64_t> last_;    ///< page -> its last bytes in the log
    std::uint64_t pages_ = 0;
    std::uint64_t unreadable_ = 0;
    std::vector<Candidate> candidates_;  ///< by session and seq
    std::map<std::int64_t, Known> known_;
    std::set<std::string> ids_;  ///< every session id that anything names
    std::vector<SessionWreck> sessions_;
    std::vector<ProjectRow> projects_;
    std::vector<ConnectionRow> connections_;
    std::vector<CheckpointRow> checkpoints_;
    std::vector<IdempotencyRow> answers_;
    std::set<std::string> seen_;  ///< keys of the two above
};

}  // namespace volary::store
