// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/clock.hpp"
#include "daemon/store/backup.hpp"
#include "daemon/store/rows.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace volary::store {

struct StoreOptions {
    std::string path;          ///< the database file; its folder is the state folder
    int read_connections = 2;  ///< one thread each; at least 1
};

/// What the last check of the database's pages found.
struct StoreHealth {
    UnixMillis checked_at = 0;  ///< 0: not yet
    std::vector<std::string> problems;
};

/// The daemon's durable memory: one SQLite database, one writer thread, a few reader threads.
///
/// Lives on the control thread: call everything from there; awaitables resume on the caller's
/// executor. Every function that writes returns after the commit has reached the disk (group
/// commit: what is asked while a commit runs shares the next one), in the order of the calls, and
/// cannot be cancelled: a request that was taken is always answered. What is promised across
/// crashes: docs/durability.md.
///
/// Errors of all awaitables: conflict (see append), busy (too many requests wait),
/// unavailable (disk full, I/O error, closed; nothing was applied).
/// End it with `co_await close()`; it must be destroyed before the callers' executor.
class Store {
public:
    /// Opens or creates, takes the lock of the state folder, migrates. Blocks for a few
    /// milliseconds: call it at start. Throws Error with one sentence that says what to do:
    /// `unavailable` for an unwritable folder, a file that is no database of ours or is damaged,
    /// a database from a newer version; `busy` for a second instance (names its pid).
    static std::unique_ptr<Store> open(StoreOptions options, const Clock& clock);
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    ~Store();

    /// Random, made when the database was created; another one means that it is another history.
    const std::string& epoch() const noexcept;

    /// Commits all of `append` or nothing. Errc::conflict when an event's seq is not the next one
    /// of its session, or a firing or an idempotency key exists; not_found when the session does
    /// not exist and no row is given; invalid when events belong to another session. One that
    /// fails never harms others that share its commit.
    asio::awaitable<void> append(Append append);

    /// Keeps what is known of unfinished items; a later one for the same item replaces it.
    asio::awaitable<void> checkpoint(std::vector<CheckpointRow> rows);
    asio::awaitable<std::vector<CheckpointRow>> checkpoints(SessionId session);

    /// How much of a cage's streams has taken effect.
    asio::awaitable<std::vector<StreamRow>> streams(CageId cage);

    /// "[{event},...]" of up to `limit` events with seq > `after`, ascending; "[]" when none.
    asio::awaitable<std::string> events_page_json(
        SessionId session, std::int64_t after, std::int64_t limit
    );
    /// The last `limit` events with seq < `before`, ascending.
    asio::awaitable<std::string> events_page_json_before(
        SessionId session, std::int64_t before, std::int64_t limit
    );
    asio::awaitable<std::vector<Event>> events(
        SessionId session, std::int64_t after, std::int64_t limit
    );

    /// Lines of an export: docs/durability.md.
    asio::awaitable<std::string> export_lines(
        SessionId session, std::int64_t after, std::int64_t limit
    );
    /// Follows the hashes of a whole log. Throws not_found.
    asio::awaitable<ChainVerdict> verify(SessionId session);

    asio::awaitable<std::optional<SessionRow>> find_session(SessionId session);
    asio::awaitable<SessionPage> sessions(SessionFilter filter);
    /// With `state`, oldest first: what a start has to recover.
    asio::awaitable<std::vector<SessionRow>> unfinished_sessions();
    asio::awaitable<std::optional<RunRow>> find_run(RunId run);
    asio::awaitable<std::vector<RunRow>> runs(SessionId session);
    asio::awaitable<std::vector<FiringRow>> firings(SessionId session);

    /// Appends to the network log of the rows' sessions; each keeps its newest kMaxConnections.
    asio::awaitable<void> add_connections(std::vector<ConnectionRow> rows);
    /// The last `limit` of a cage, or of a whole session when `cage` is empty, newest first.
    asio::awaitable<std::vector<ConnectionRow>> connections(
        SessionId session, CageId cage, std::int64_t limit
    );
    asio::awaitable<std::optional<CageRow>> find_cage(CageId cage);

    asio::awaitable<std::optional<IdempotencyRow>> find_idempotent(
        std::string scope, std::string key
    );

    /// Inserts, or replaces the path of the project of that name (added_at stays).
    asio::awaitable<void> put_project(ProjectRow row);
    asio::awaitable<std::vector<ProjectRow>> projects();
    asio::awaitable<std::optional<ProjectRow>> find_project(std::string name);
    /// False when there was none. Its sessions stay.
    asio::awaitable<bool> remove_project(std::string name);

    asio::awaitable<void> insert_launch_code(LaunchCodeRow row);
    /// True exactly once per code, and only before it expires.
    asio::awaitable<bool> consume_launch_code(std::string hash);

    asio::awaitable<void> insert_device(DeviceRow row);
    /// Also finds revoked and expired ones: the caller judges.
    asio::awaitable<std::optional<DeviceRow>> find_device(std::string token_hash);
    asio::awaitable<std::vector<DeviceRow>> devices();
    asio::awaitable<void> touch_device(DeviceId device, UnixMillis last_seen);
    /// False when there is no such device.
    asio::awaitable<bool> revoke_device(DeviceId device);

    /// Removes what is only kept for a while: idempotency rows after seven days, launch codes
    /// that have expired, devices that expired or were revoked 30 days ago. Gives the number.
    asio::awaitable<std::int64_t> prune();

    asio::awaitable<Counts> counts();

    /// A consistent copy in the folder `backups` beside the database, while everything else goes
    /// on; older ones beyond the newest `keep` go.
    asio::awaitable<BackupFile> back_up(std::size_t keep);
    asio::awaitable<std::vector<BackupFile>> backups();
    /// Reads every page (seconds for a large file) on a thread of its own: what is damaged in
    /// words, empty when all is whole. health() then says the same. One at a time: Error{busy}.
    asio::awaitable<std::vector<std::string>> check_pages();
    /// Ends a check_pages() that runs: it throws Error{unavailable} soon.
    void end_check();
    const StoreHealth& health() const noexcept;

    /// Refuses new requests, answers those that wait, closes the connections (which folds the
    /// WAL into the database) and releases the lock.
    asio::awaitable<void> close();

private:
    class Impl;
    explicit Store(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace volary::store
