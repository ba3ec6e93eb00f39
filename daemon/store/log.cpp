// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/log.hpp"

#include "base/error.hpp"
#include "daemon/store/chain.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace volary::store {
namespace {

// A page ends early at this size, so that a log of large bodies costs no more memory than this
// and one body. It always holds at least one event.
constexpr std::size_t kMaxPageBytes = std::size_t{8} << 20U;

// What one page may ask for, whatever the caller's own limit is.
constexpr std::int64_t kMaxPageEvents = 10'000;

/// What an append builds on.
struct Stored {
    std::int64_t no;  ///< the session's number in this database
    std::int64_t last_seq;
};

std::optional<Stored> find_stored(Database& db, const SessionId& session) {
    auto find = db.prepare("SELECT no, last_seq FROM session WHERE id = ?1");
    find.bind(session.str());
    if (!find.step()) return std::nullopt;
    return Stored{find.integer(0), find.integer(1)};
}

/// The last seq after the events; throws unless they follow `last` one by one.
std::int64_t check_events(const Append& append, std::int64_t last) {
    for (const auto& event : append.events) {
        if (event.session != append.session) {
            throw Error(
                Errc::invalid, fmt::format(
                                   "append to session {}: event {} belongs to session {}",
                                   append.session.str(), event.seq, event.session.str()
                               )
            );
        }
        if (event.seq != last + 1) {
            throw Error(
                Errc::conflict, fmt::format(
                                    "append to session {}: event {} does not follow {}",
                                    append.session.str(), event.seq, last
                                )
            );
        }
        // Pages are put together from bodies as they are: at least the outer form must hold.
        if (!event.body.starts_with('{') || !event.body.ends_with('}')) {
            throw Error(
                Errc::invalid, fmt::format(
                                   "append to session {}: body of event {} is not a JSON object",
                                   append.session.str(), event.seq
                               )
            );
        }
        last = event.seq;
    }
    return last;
}

/// Returns the session's number.
std::int64_t put_session(Database& db, const SessionRow& row, std::int64_t last) {
    auto put = db.prepare(
        "INSERT INTO session (id, project, title, status, created_at, updated_at, last_seq, state)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET"
        " project = excluded.project, title = excluded.title, status = excluded.status,"
        " updated_at = excluded.updated_at, last_seq = excluded.last_seq, state = excluded.state"
        " RETURNING no"
    );
    put.bind(row.id.str()).bind(row.project).bind(row.title).bind(row.status);
    put.bind(row.created_at).bind(row.updated_at).bind(last).bind(row.state);
    if (!put.step()) throw Error(Errc::internal, "a stored session has no number");
    return put.integer(0);
}

void advance_session(Database& db, std::int64_t no, const Append& append, std::int64_t last) {
    if (append.events.empty()) return;
    auto advance = db.prepare(
        "UPDATE session SET last_seq = ?2, updated_at = max(updated_at, ?3) WHERE no = ?1"
    );
    advance.bind(no).bind(last).bind(append.events.back().at).exec();
}

/// The hash of the last event before `seq`.
EventHash head_before(Database& db, std::int64_t no, std::int64_t seq) {
    if (seq == 1) return kNoEvents;
    auto find = db.prepare("SELECT hash FROM event WHERE session = ?1 AND seq = ?2");
    find.bind(no).bind(seq - 1);
    const auto hash = find.step() ? hash_from_bytes(find.bytes(0)) : std::nullopt;
    if (!hash) throw Error(Errc::internal, fmt::format("event {} has no hash", seq - 1));
    return *hash;
}

void insert_events(Database& db, std::int64_t no, const std::vector<Event>& events) {
    if (events.empty()) return;
    auto head = head_before(db, no, events.front().seq);
    auto insert = db.prepare(
        "INSERT INTO event (session, seq, at, kind, actor, run, body, hash)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    );
    for (const auto& event : events) {
        head = hash_after(head, view_of(event));
        insert.bind(no).bind(event.seq).bind(event.at).bind(event.kind);
        insert.bind(event.actor).bind_optional(event.run.str()).bind(event.body);
        insert.bind_bytes(bytes_of(head)).exec();
        insert.reset();
    }
}

void put_runs(Database& db, const std::vector<RunRow>& runs) {
    for (const auto& run : runs) {
        auto put = db.prepare(
            "INSERT INTO run (id, session, status, outcome, created_at, updated_at)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET"
            " status = excluded.status, outcome = excluded.outcome,"
            " updated_at = excluded.updated_at WHERE session = excluded.session"
        );
        put.bind(run.id.str()).bind(run.session.str()).bind(run.status).bind(run.outcome);
        put.bind(run.created_at).bind(run.updated_at).exec();
    }
}

void insert_firings(Database& db, const std::vector<FiringRow>& firings) {
    for (const auto& firing : firings) {
        auto insert = db.prepare(
            "INSERT INTO firing (session, event_seq, rule, invocation) VALUES (?1, ?2, ?3, ?4)"
            " ON CONFLICT DO NOTHING"
        );
        insert.bind(firing.session.str()).bind(firing.event_seq).bind(firing.rule);
        insert.bind(firing.invocation.str()).exec();
        if (db.changes() == 1) continue;
        throw Error(
            Errc::conflict, fmt::format(
                                "rule \"{}\" has already fired for event {} of session {}",
                                firing.rule, firing.event_seq, firing.session.str()
                            )
        );
    }
}

void insert_cages(Database& db, const std::vector<CageRow>& cages) {
    for (const auto& cage : cages) {
        auto insert = db.prepare(
            "INSERT INTO cage (id, session, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING"
        );
        insert.bind(cage.id.str()).bind(cage.session.str()).bind(cage.seq).exec();
    }
}

void put_streams(Database& db, const std::vector<StreamRow>& streams) {
    for (const auto& row : streams) {
        auto put = db.prepare(
            "INSERT INTO cage_stream (cage, stream, offset) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (cage, stream) DO UPDATE SET offset = max(offset, excluded.offset)"
        );
        put.bind(row.cage.str()).bind(row.stream).bind(row.offset).exec();
    }
}

void remove_checkpoints(Database& db, const SessionId& session, const std::vector<ItemId>& items) {
    for (const auto& item : items) {
        auto remove = db.prepare("DELETE FROM item_checkpoint WHERE session = ?1 AND item = ?2");
        remove.bind(session.str()).bind(item.str()).exec();
    }
}

void insert_idempotency(Database& db, const IdempotencyRow& row) {
    auto insert = db.prepare(
        "INSERT INTO idempotency (scope, key, request_hash, status, at, response)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING"
    );
    insert.bind(row.scope).bind(row.key).bind(row.request_hash);
    insert.bind(std::int64_t{row.status}).bind(row.at).bind(row.response).exec();
    if (db.changes() == 1) return;
    throw Error(
        Errc::conflict, fmt::format("idempotency key \"{}\" of {} is taken", row.key, row.scope)
    );
}

EventView row_view(const Statement& row, const SessionId& session) {
    return {session.str(), row.integer(0), row.integer(1), row.view(2),
            row.view(3),   row.view(4),    row.view(5)};
}

std::int64_t clamp_limit(std::int64_t limit) {
    return std::clamp<std::int64_t>(limit, 0, kMaxPageEvents);
}

/// The events behind `after` in order: seq, at, kind, actor, run, body, hash.
Statement select_after(
    Database& db, const SessionId& session, std::int64_t after, std::int64_t limit
) {
    auto list = db.prepare(
        "SELECT seq, at, kind, actor, run, body, hash FROM event"
        " WHERE session = (SELECT no FROM session WHERE id = ?1) AND seq > ?2 ORDER BY seq LIMIT ?3"
    );
    list.bind(session.str()).bind(after).bind(clamp_limit(limit));
    return list;
}

}  // namespace

void append_to_log(Database& db, const Append& append) {
    const auto stored = find_stored(db, append.session);
    if (!stored && !append.session_row)
        throw Error(Errc::not_found, "session " + append.session.str());
    if (append.session_row && append.session_row->id != append.session) {
        throw Error(
            Errc::invalid, fmt::format(
                               "append to session {}: its row is that of session {}",
                               append.session.str(), append.session_row->id.str()
                           )
        );
    }
    const auto last = check_events(append, stored ? stored->last_seq : 0);
    const auto no = append.session_row ? put_session(db, *append.session_row, last) : stored->no;
    if (!append.session_row) advance_session(db, no, append, last);
    insert_events(db, no, append.events);
    put_runs(db, append.runs);
    insert_firings(db, append.firings);
    insert_cages(db, append.cages);
    put_streams(db, append.streams);
    remove_checkpoints(db, append.session, append.finished_items);
    if (append.idempotency) insert_idempotency(db, *append.idempotency);
}

std::vector<StreamRow> list_streams(Database& db, const CageId& cage) {
    auto list =
        db.prepare("SELECT stream, offset FROM cage_stream WHERE cage = ?1 ORDER BY stream");
    list.bind(cage.str());
    std::vector<StreamRow> rows;
    while (list.step()) rows.push_back({cage, list.integer(0), list.integer(1)});
    return rows;
}

void put_checkpoints(Database& db, const std::vector<CheckpointRow>& rows) {
    for (const auto& row : rows) {
        auto put = db.prepare(
            "INSERT INTO item_checkpoint (session, item, body) VALUES (?1, ?2, ?3)"
            " ON CONFLICT DO UPDATE SET body = excluded.body"
        );
        put.bind(row.session.str()).bind(row.item.str()).bind(row.body).exec();
    }
}

std::vector<CheckpointRow> list_checkpoints(Database& db, const SessionId& session) {
    auto list =
        db.prepare("SELECT item, body FROM item_checkpoint WHERE session = ?1 ORDER BY item");
    list.bind(session.str());
    std::vector<CheckpointRow> rows;
    while (list.step()) rows.push_back({session, ItemId(list.text(0)), list.text(1)});
    return rows;
}

std::string export_after(
    Database& db, const SessionId& session, std::int64_t after, std::int64_t limit
) {
    auto list = select_after(db, session, after, limit);
    std::string lines;
    while (lines.size() < kMaxPageBytes && list.step()) {
        append_event_json(lines, row_view(list, session));
        lines.pop_back();
        const auto hash = hash_from_bytes(list.bytes(6));
        lines += fmt::format(",\"hash\":\"{}\"}}\n", hash ? hex_of(*hash) : "");
    }
    return lines;
}

ChainVerdict verify_chain(Database& db, const SessionId& session) {
    auto find = db.prepare("SELECT no, last_seq FROM session WHERE id = ?1");
    find.bind(session.str());
    if (!find.step()) throw Error(Errc::not_found, "no session " + session.str());
    const auto last_seq = find.integer(1);
    auto list = db.prepare(
        "SELECT seq, at, kind, actor, run, body, hash FROM event WHERE session = ?1 ORDER BY seq"
    );
    list.bind(find.integer(0));
    ChainCheck check(session);
    while (list.step() && check.take(row_view(list, session), list.bytes(6))) {
    }
    ChainVerdict verdict{check.events(), hex_of(check.head()), check.problem()};
    if (verdict.problem.empty() && verdict.events != last_seq)
        verdict.problem =
            fmt::format("the log ends at event {}, but {} were written", verdict.events, last_seq);
    return verdict;
}

std::vector<Event> list_events(
    Database& db, const SessionId& session, std::int64_t after, std::int64_t limit
) {
    auto list = select_after(db, session, after, limit);
    std::vector<Event> events;
    while (list.step()) {
        events.push_back(
            {session, list.integer(0), list.integer(1), list.text(2), list.text(3),
             RunId(list.text(4)), list.text(5)}
        );
    }
    return events;
}

std::string page_after(
    Database& db, const SessionId& session, std::int64_t after, std::int64_t limit
) {
    auto list = select_after(db, session, after, limit);
    std::string page = "[";
    while (page.size() < kMaxPageBytes && list.step()) {
        if (page.size() > 1) page.push_back(',');
        append_event_json(page, row_view(list, session));
    }
    page.push_back(']');
    return page;
}

std::string page_before(
    Database& db, const SessionId& session, std::int64_t before, std::int64_t limit
) {
    auto list = db.prepare(
        "SELECT seq, at, kind, actor, run, body FROM event"
        " WHERE session = (SELECT no FROM session WHERE id = ?1) AND seq < ?2 ORDER BY seq DESC "
        "LIMIT ?3"
    );
    list.bind(session.str()).bind(before).bind(clamp_limit(limit));
    // Read newest first, so that a page that grows too large ends at its old side.
    std::string newest_first;
    std::vector<std::pair<std::size_t, std::size_t>> pieces;
    while (newest_first.size() < kMaxPageBytes && list.step()) {
        const auto from = newest_first.size();
        append_event_json(newest_first, row_view(list, session));
        pieces.emplace_back(from, newest_first.size() - from);
    }
    std::string page = "[";
    page.reserve(newest_first.size() + pieces.size() + 2);
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
        if (page.size() > 1) page.push_back(',');
        page.append(newest_first, piece->first, piece->second);
    }
    page.push_back(']');
    return page;
}

}  // namespace volary::store
