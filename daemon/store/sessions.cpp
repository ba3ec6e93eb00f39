// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sessions.hpp"

#include <algorithm>

namespace volary::store {
namespace {

/// Of "id, project, title, status, created_at, updated_at, last_seq".
SessionRow summary_of(const Statement& row) {
    SessionRow session;
    session.id = SessionId(row.text(0));
    session.project = row.text(1);
    session.title = row.text(2);
    session.status = row.text(3);
    session.created_at = row.integer(4);
    session.updated_at = row.integer(5);
    session.last_seq = row.integer(6);
    return session;
}

/// The same columns, then "state".
SessionRow session_of(const Statement& row) {
    auto session = summary_of(row);
    session.state = row.text(7);
    return session;
}

RunRow run_of(const Statement& row) {
    return {RunId(row.text(0)), SessionId(row.text(1)), row.text(2),
            row.text(3),        row.integer(4),         row.integer(5)};
}

std::int64_t count_sessions(Database& db, const std::string& project) {
    if (project.empty()) return db.integer("SELECT count(*) FROM session");
    auto count = db.prepare("SELECT count(*) FROM session WHERE project = ?1");
    count.bind(project);
    return count.step() ? count.integer(0) : 0;
}

}  // namespace

std::optional<SessionRow> find_session(Database& db, const SessionId& session) {
    auto find = db.prepare(
        "SELECT id, project, title, status, created_at, updated_at, last_seq, state"
        " FROM session WHERE id = ?1"
    );
    find.bind(session.str());
    if (!find.step()) return std::nullopt;
    return session_of(find);
}

SessionPage list_sessions(Database& db, const SessionFilter& filter) {
    SessionPage page;
    page.total = count_sessions(db, filter.project);
    auto list = filter.project.empty()
                    ? db.prepare(
                          "SELECT id, project, title, status, created_at, updated_at, last_seq"
                          " FROM session ORDER BY updated_at DESC, id DESC LIMIT ?1 OFFSET ?2"
                      )
                    : db.prepare(
                          "SELECT id, project, title, status, created_at, updated_at, last_seq"
                          " FROM session WHERE project = ?3"
                          " ORDER BY updated_at DESC, id DESC LIMIT ?1 OFFSET ?2"
                      );
    // A negative LIMIT means "all" to SQLite; a caller's mistake must not.
    list.bind(std::max<std::int64_t>(filter.limit, 0));
    list.bind(std::max<std::int64_t>(filter.offset, 0));
    if (!filter.project.empty()) list.bind(filter.project);
    while (list.step()) page.sessions.push_back(summary_of(list));
    return page;
}

std::vector<SessionRow> list_unfinished_sessions(Database& db) {
    auto list = db.prepare(
        "SELECT id, project, title, status, created_at, updated_at, last_seq, state"
        " FROM session WHERE status <> 'idle' ORDER BY created_at, id"
    );
    std::vector<SessionRow> rows;
    while (list.step()) rows.push_back(session_of(list));
    return rows;
}

std::optional<RunRow> find_run(Database& db, const RunId& run) {
    auto find = db.prepare(
        "SELECT id, session, status, outcome, created_at, updated_at FROM run WHERE id = ?1"
    );
    find.bind(run.str());
    if (!find.step()) return std::nullopt;
    return run_of(find);
}

std::vector<RunRow> list_runs(Database& db, const SessionId& session) {
    auto list = db.prepare(
        "SELECT id, session, status, outcome, created_at, updated_at FROM run"
        " WHERE session = ?1 ORDER BY created_at, id"
    );
    list.bind(session.str());
    std::vector<RunRow> rows;
    while (list.step()) rows.push_back(run_of(list));
    return rows;
}

std::vector<FiringRow> list_firings(Database& db, const SessionId& session) {
    auto list = db.prepare(
        "SELECT event_seq, rule, invocation FROM firing WHERE session = ?1 ORDER BY event_seq, rule"
    );
    list.bind(session.str());
    std::vector<FiringRow> rows;
    while (list.step())
        rows.push_back({session, list.integer(0), list.text(1), InvocationId(list.text(2))});
    return rows;
}

std::optional<IdempotencyRow> find_idempotent(
    Database& db, const std::string& scope, const std::string& key
) {
    auto find = db.prepare(
        "SELECT request_hash, status, response, at FROM idempotency WHERE scope = ?1 AND key = ?2"
    );
    find.bind(scope).bind(key);
    if (!find.step()) return std::nullopt;
    IdempotencyRow row;
    row.key = key;
    row.scope = scope;
    row.request_hash = find.text(0);
    row.status = static_cast<int>(find.integer(1));
    row.response = find.text(2);
    row.at = find.integer(3);
    return row;
}

Counts count_rows(Database& db) {
    Counts counts;
    counts.projects = db.integer("SELECT count(*) FROM project");
    counts.sessions = db.integer("SELECT count(*) FROM session");
    counts.unfinished_sessions = db.integer("SELECT count(*) FROM session WHERE status <> 'idle'");
    // Logs have no gaps, so nobody needs to walk the events.
    counts.events = db.integer("SELECT total(last_seq) FROM session");
    return counts;
}

}  // namespace volary::store
