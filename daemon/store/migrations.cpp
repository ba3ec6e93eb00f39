// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/migrations.hpp"

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "daemon/store/chain.hpp"
#include "daemon/store/schema.hpp"

#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::store {
namespace {

// `state` and `body` stand last: SQLite then lists a table without reading their overflow pages.
// One index serves the list of sessions with and without a project: each append moves an entry of
// it, and a second one would cost more than skipping the sessions of other projects does.
// `event` has no foreign key: an append reads and moves its session's row anyway, so a look-up per
// event would check the same thing again.
constexpr const char* kFirst = R"sql(
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(16))));

CREATE TABLE project (
    name TEXT NOT NULL PRIMARY KEY,
    path TEXT NOT NULL,
    added_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE session (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    title TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX session_by_activity ON session(updated_at DESC, id DESC, project);
CREATE INDEX session_unfinished ON session(created_at, id) WHERE status <> 'idle';

CREATE TABLE run (
    id TEXT NOT NULL PRIMARY KEY,
    session TEXT NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    outcome TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX run_by_session ON run(session, created_at, id);

-- Rows in the order of their arrival and a small index, so that a commit of many sessions writes
-- few pages: twice the events a second of a table that is sorted by session.
CREATE TABLE event (
    session INTEGER NOT NULL, -- session.no
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    run TEXT,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX event_by_seq ON event(session, seq);

CREATE TABLE firing (
    session TEXT NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    event_seq INTEGER NOT NULL,
    rule TEXT NOT NULL,
    invocation TEXT NOT NULL,
    PRIMARY KEY (session, event_seq, rule)
) WITHOUT ROWID;

CREATE TABLE item_checkpoint (
    session TEXT NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    item TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session, item)
) WITHOUT ROWID;

CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    at INTEGER NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency(at);

CREATE TABLE launch_code (
    hash TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE device (
    id TEXT NOT NULL PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
)sql";

// `connection` is the network log of the cages, at most kMaxConnections rows a session: `id`
// ascends with the time of the end, so that the oldest are found without an index of their own.
constexpr const char* kCages = R"sql(
CREATE TABLE cage (
    id TEXT NOT NULL PRIMARY KEY,
    session TEXT NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    seq INTEGER NOT NULL -- of its cage.started
) WITHOUT ROWID;
CREATE INDEX cage_by_session ON cage(session);

CREATE TABLE connection (
    id INTEGER PRIMARY KEY,
    session TEXT NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    cage TEXT NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    port INTEGER NOT NULL,
    bytes_up INTEGER NOT NULL,
    bytes_down INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    verdict TEXT NOT NULL
);
CREATE INDEX connection_by_session ON connection(session, id);
CREATE INDEX connection_by_cage ON connection(cage, id);
)sql";

constexpr const char* kChain = "ALTER TABLE event ADD COLUMN hash BLOB";

void hash_log(Database& db) {
    auto list = db.prepare(
        "SELECT e.rowid, s.id, e.seq, e.at, e.kind, e.actor, e.run, e.body"
        " FROM event e JOIN session s ON s.no = e.session ORDER BY e.session, e.seq"
    );
    auto put = db.prepare("UPDATE event SET hash = ?2 WHERE rowid = ?1");
    auto head = kNoEvents;
    while (list.step()) {
        const EventView event{list.view(1), list.integer(2), list.integer(3), list.view(4),
                              list.view(5), list.view(6),    list.view(7)};
        head = hash_after(event.seq == 1 ? kNoEvents : head, event);
        put.bind(list.integer(0)).bind_bytes(bytes_of(head)).exec();
        put.reset();
    }
}

constexpr const char* kStreams = R"sql(
CREATE TABLE cage_stream (
    cage TEXT NOT NULL,
    stream INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (cage, stream)
) WITHOUT ROWID;
)sql";

constexpr Migration kMigrations[] = {
    {1, kFirst}, {2, kCages}, {3, kChain, hash_log}, {4, kStreams}
};

void sync_file(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0) throw_errno("sync", path);
}

void back_up(Database& db, std::int64_t version) {
    const auto path = fmt::format("{}.bak-{}", db.path(), version);
    const auto half = path + ".part";
    (void)::unlink(half.c_str());
    db.copy_to(half);
    sync_file(half);
    if (std::rename(half.c_str(), path.c_str()) != 0) throw_errno("rename", half);
    const auto slash = path.rfind('/');
    sync_file(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

}  // namespace

std::span<const Migration> migrations() { return kMigrations; }

void migrate(Database& db, std::span<const Migration> steps) {
    const auto version = db.integer("PRAGMA user_version");
    const auto newest = steps.empty() ? 0 : steps.back().version;
    if (version > newest) {
        throw Error(
            Errc::unavailable,
            fmt::format(
                "database \"{}\" is of version {}, this program knows up to {}: start the newer "
                "volary, or put back a backup (*.bak-{})",
                db.path(), version, newest, newest
            )
        );
    }
    check_schema(db, steps, version);
    if (version == newest) return;
    const bool holds_something = db.integer("SELECT count(*) FROM sqlite_schema") > 0;
    if (holds_something) back_up(db, version);
    for (const auto& step : steps) {
        if (step.version <= version) continue;
        try {
            Transaction transaction(db);
            db.exec(step.sql);
            if (step.fill != nullptr) step.fill(db);
            db.exec(fmt::format("PRAGMA user_version = {}", step.version).c_str());
            db.exec(fmt::format("PRAGMA application_id = {}", kApplicationId).c_str());
            transaction.commit();
        } catch (Error& error) {
            error.add_context(fmt::format("migrate \"{}\" to version {}", db.path(), step.version));
            throw;
        }
    }
}

}  // namespace volary::store
