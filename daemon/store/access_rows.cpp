// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/access_rows.hpp"

#include <string_view>

namespace volary::store {
namespace {

constexpr UnixMillis kDay = 24LL * 60 * 60 * 1000;

// A client that was away over a long weekend may still repeat what it sent before.
constexpr UnixMillis kIdempotencyRetention = 7 * kDay;

// The list of devices still shows for a month that one was signed out.
constexpr UnixMillis kDeviceRetention = 30 * kDay;

DeviceRow device_of(const Statement& row) {
    return {DeviceId(row.text(0)), row.text(1),    row.text(2),        row.integer(3),
            row.integer(4),        row.integer(5), row.integer(6) != 0};
}

std::int64_t remove_older(Database& db, std::string_view sql, UnixMillis than) {
    auto remove = db.prepare(sql);
    remove.bind(than).exec();
    return db.changes();
}

}  // namespace

void put_project(Database& db, const ProjectRow& row) {
    auto put = db.prepare(
        "INSERT INTO project (name, path, added_at) VALUES (?1, ?2, ?3)"
        " ON CONFLICT DO UPDATE SET path = excluded.path"
    );
    put.bind(row.name).bind(row.path).bind(row.added_at).exec();
}

std::vector<ProjectRow> list_projects(Database& db) {
    auto list = db.prepare("SELECT name, path, added_at FROM project ORDER BY name");
    std::vector<ProjectRow> rows;
    while (list.step()) rows.push_back({list.text(0), list.text(1), list.integer(2)});
    return rows;
}

std::optional<ProjectRow> find_project(Database& db, const std::string& name) {
    auto find = db.prepare("SELECT name, path, added_at FROM project WHERE name = ?1");
    find.bind(name);
    if (!find.step()) return std::nullopt;
    return ProjectRow{find.text(0), find.text(1), find.integer(2)};
}

bool remove_project(Database& db, const std::string& name) {
    auto remove = db.prepare("DELETE FROM project WHERE name = ?1");
    remove.bind(name).exec();
    return db.changes() == 1;
}

void insert_launch_code(Database& db, const LaunchCodeRow& row) {
    auto insert =
        db.prepare("INSERT INTO launch_code (hash, created_at, expires_at) VALUES (?1, ?2, ?3)");
    insert.bind(row.hash).bind(row.created_at).bind(row.expires_at).exec();
}

bool consume_launch_code(Database& db, const std::string& hash, UnixMillis now) {
    auto remove = db.prepare("DELETE FROM launch_code WHERE hash = ?1 AND expires_at > ?2");
    remove.bind(hash).bind(now).exec();
    return db.changes() == 1;
}

void insert_device(Database& db, const DeviceRow& row) {
    auto insert = db.prepare(
        "INSERT INTO device (id, token_hash, name, created_at, last_seen, expires_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    );
    insert.bind(row.id.str()).bind(row.token_hash).bind(row.name);
    insert.bind(row.created_at).bind(row.last_seen).bind(row.expires_at).exec();
}

std::optional<DeviceRow> find_device(Database& db, const std::string& token_hash) {
    auto find = db.prepare(
        "SELECT id, token_hash, name, created_at, last_seen, expires_at, revoked_at"
        " FROM device WHERE token_hash = ?1"
    );
    find.bind(token_hash);
    if (!find.step()) return std::nullopt;
    return device_of(find);
}

std::vector<DeviceRow> list_devices(Database& db) {
    auto list = db.prepare(
        "SELECT id, token_hash, name, created_at, last_seen, expires_at, revoked_at"
        " FROM device ORDER BY created_at, id"
    );
    std::vector<DeviceRow> rows;
    while (list.step()) rows.push_back(device_of(list));
    return rows;
}

void touch_device(Database& db, const DeviceId& device, UnixMillis last_seen) {
    auto touch = db.prepare("UPDATE device SET last_seen = max(last_seen, ?2) WHERE id = ?1");
    touch.bind(device.str()).bind(last_seen).exec();
}

bool revoke_device(Database& db, const DeviceId& device, UnixMillis now) {
    auto revoke = db.prepare(
        "UPDATE device SET revoked_at = iif(revoked_at = 0, ?2, revoked_at) WHERE id = ?1"
    );
    revoke.bind(device.str()).bind(now).exec();
    return db.changes() == 1;
}

std::int64_t prune_rows(Database& db, UnixMillis now) {
    auto removed =
        remove_older(db, "DELETE FROM idempotency WHERE at < ?1", now - kIdempotencyRetention);
    // Nobody goes on with a cage of a session in which nothing works.
    db.exec(
        "DELETE FROM cage_stream WHERE cage IN (SELECT c.id FROM cage c"
        " JOIN session s ON s.id = c.session WHERE s.status = 'idle')"
    );
    removed += remove_older(db, "DELETE FROM launch_code WHERE expires_at <= ?1", now);
    removed += remove_older(
        db, "DELETE FROM device WHERE expires_at < ?1 OR (revoked_at <> 0 AND revoked_at < ?1)",
        now - kDeviceRetention
    );
    return removed;
}

}  // namespace volary::store
