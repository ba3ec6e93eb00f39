// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/connections.hpp"

#include <algorithm>
#include <set>

namespace volary::store {
namespace {

constexpr const char* kColumns =
    "SELECT session, cage, at, name, port, bytes_up, bytes_down, duration_ms, verdict"
    " FROM connection";

void keep_newest(Database& db, const SessionId& session) {
    auto remove = db.prepare(
        "DELETE FROM connection WHERE session = ?1 AND id <= (SELECT id FROM connection"
        " WHERE session = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
    );
    remove.bind(session.str()).bind(kMaxConnections).exec();
}

}  // namespace

void add_connections(Database& db, const std::vector<ConnectionRow>& rows) {
    std::set<std::string> sessions;
    for (const auto& row : rows) {
        // The session's row is there before a cage of it lives; one that was removed has no log.
        auto insert = db.prepare(
            "INSERT INTO connection (session, cage, at, name, port, bytes_up, bytes_down,"
            " duration_ms, verdict) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
            " WHERE EXISTS (SELECT 1 FROM session WHERE id = ?1)"
        );
        insert.bind(row.session.str()).bind(row.cage.str()).bind(row.at).bind(row.name);
        insert.bind(row.port).bind(row.bytes_up).bind(row.bytes_down);
        insert.bind(row.duration_ms).bind(row.verdict).exec();
        sessions.insert(row.session.str());
    }
    for (const auto& session : sessions) keep_newest(db, SessionId(session));
}

std::vector<ConnectionRow> list_connections(
    Database& db, const SessionId& session, const CageId& cage, std::int64_t limit
) {
    const auto which = cage.empty() ? std::string(" WHERE session = ?1") : " WHERE cage = ?1";
    auto list = db.prepare(kColumns + which + " ORDER BY id DESC LIMIT ?2");
    list.bind(cage.empty() ? session.str() : cage.str());
    list.bind(std::clamp<std::int64_t>(limit, 0, kMaxConnections));
    std::vector<ConnectionRow> rows;
    while (list.step()) {
        ConnectionRow row;
        row.session = SessionId(list.text(0));
        row.cage = CageId(list.text(1));
        row.at = list.integer(2);
        row.name = list.text(3);
        row.port = list.integer(4);
        row.bytes_up = list.integer(5);
        row.bytes_down = list.integer(6);
        row.duration_ms = list.integer(7);
        row.verdict = list.text(8);
        rows.push_back(std::move(row));
    }
    return rows;
}

std::optional<CageRow> find_cage(Database& db, const CageId& cage) {
    auto find = db.prepare("SELECT session, seq FROM cage WHERE id = ?1");
    find.bind(cage.str());
    if (!find.step()) return std::nullopt;
    return CageRow{cage, SessionId(find.text(0)), find.integer(1)};
}

}  // namespace volary::store
