// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/event.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace volary::store {

// Plain rows, one struct per table (docs of each column: README.md of this folder). Times are
// milliseconds since 1970, 0 when it has not happened.

struct ProjectRow {
    std::string name;
    std::string path;  ///< absolute folder
    UnixMillis added_at = 0;
    bool operator==(const ProjectRow&) const = default;
};

struct SessionRow {
    SessionId id;
    std::string project;
    std::string title;
    std::string status;  ///< "idle" is finished, everything else is found by unfinished_sessions()
    UnixMillis created_at = 0;
    UnixMillis updated_at = 0;
    std::int64_t last_seq = 0;  ///< kept by the store: what a caller writes here is not used
    std::string state;          ///< JSON text: the whole fold of the log
    bool operator==(const SessionRow&) const = default;
};

struct RunRow {
    RunId id;
    SessionId session;
    std::string status;
    std::string outcome;
    UnixMillis created_at = 0;
    UnixMillis updated_at = 0;
    bool operator==(const RunRow&) const = default;
};

/// The answer that a mutation got, so that the same key gets the same answer again.
struct IdempotencyRow {
    std::string key;
    std::string scope;  ///< actor and route
    std::string request_hash;
    int status = 0;  ///< HTTP status of the answer
    std::string response;
    UnixMillis at = 0;
    bool operator==(const IdempotencyRow&) const = default;
};

/// That interconnect rule `rule` has fired for one event; there is never a second one.
struct FiringRow {
    SessionId session;
    std::int64_t event_seq = 0;
    std::string rule;
    InvocationId invocation;
    bool operator==(const FiringRow&) const = default;
};

/// Whose a cage is, also after it has ended.
struct CageRow {
    CageId id;
    SessionId session;
    std::int64_t seq = 0;  ///< of its `cage.started`
    bool operator==(const CageRow&) const = default;
};

/// One finished connection of a cage.
struct ConnectionRow {
    SessionId session;
    CageId cage;
    UnixMillis at = 0;  ///< when it began
    std::string name;
    std::int64_t port = 0;
    std::int64_t bytes_up = 0;
    std::int64_t bytes_down = 0;
    std::int64_t duration_ms = 0;
    std::string verdict;
    bool operator==(const ConnectionRow&) const = default;
};

/// What is kept of one session's connections; the oldest go.
inline constexpr std::int64_t kMaxConnections = 10'000;

/// How much of a stream of a cage has taken effect: recorded with what followed from it.
struct StreamRow {
    CageId cage;
    std::int64_t stream = 0;
    std::int64_t offset = 0;  ///< bytes; a smaller one never replaces a larger one
    bool operator==(const StreamRow&) const = default;
};

/// What is known of a streamed item that has not finished.
struct CheckpointRow {
    SessionId session;
    ItemId item;
    std::string body;
    bool operator==(const CheckpointRow&) const = default;
};

/// A one-use code; only its hash is kept.
struct LaunchCodeRow {
    std::string hash;
    UnixMillis created_at = 0;
    UnixMillis expires_at = 0;
    bool operator==(const LaunchCodeRow&) const = default;
};

/// A signed-in browser; only the hash of its cookie is kept.
struct DeviceRow {
    DeviceId id;
    std::string token_hash;
    std::string name;
    UnixMillis created_at = 0;
    UnixMillis last_seen = 0;
    UnixMillis expires_at = 0;
    bool revoked = false;
    bool operator==(const DeviceRow&) const = default;
};

/// Everything that one step of a session changes; committed whole or not at all.
struct Append {
    SessionId session;
    std::vector<Event> events;  ///< seq given: last_seq + 1, last_seq + 2 ...; may be empty
    std::optional<SessionRow> session_row;      ///< needed with the first append of a session
    std::vector<RunRow> runs;                   ///< inserted or replaced
    std::vector<FiringRow> firings;             ///< inserted; one that exists is a conflict
    std::vector<CageRow> cages;                 ///< inserted, or left as they are
    std::vector<StreamRow> streams;             ///< inserted, or moved on
    std::vector<ItemId> finished_items;         ///< their checkpoints go
    std::optional<IdempotencyRow> idempotency;  ///< inserted; one that exists is a conflict
};

struct SessionFilter {
    std::string project;  ///< empty: all
    std::int64_t limit = 50;
    std::int64_t offset = 0;
};

struct SessionPage {
    std::vector<SessionRow> sessions;  ///< newest activity first, `state` left out
    std::int64_t total = 0;            ///< all that match the filter
};

/// What following the hashes of a session's log gave.
struct ChainVerdict {
    std::int64_t events = 0;  ///< that hold, from the first
    std::string head;         ///< hex of the hash of the last of them
    std::string problem;      ///< in words; empty: the log is what was written
};

struct Counts {
    std::int64_t projects = 0;
    std::int64_t sessions = 0;
    std::int64_t unfinished_sessions = 0;
    std::int64_t events = 0;
};

}  // namespace volary::store
