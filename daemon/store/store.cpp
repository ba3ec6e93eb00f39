// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/store.hpp"

#include "base/error.hpp"
#include "daemon/store/access_rows.hpp"
#include "daemon/store/connections.hpp"
#include "daemon/store/log.hpp"
#include "daemon/store/sessions.hpp"
#include "daemon/store/state_folder.hpp"
#include "daemon/store/worker.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

namespace volary::store {

class Store::Impl {
public:
    Impl(StateLock lock, std::unique_ptr<Database> db, int readers, const Clock& clock)
        : clock_(clock), lock_(std::move(lock)) {
        auto find = db->prepare("SELECT value FROM meta WHERE key = 'epoch'");
        if (!find.step()) throw Error(Errc::unavailable, "database has no epoch: " + db->path());
        epoch_ = find.text(0);
        path_ = db->path();
        {
            const auto ended = std::move(find);
        }  // before the worker's thread takes the connection
        writer_ = std::make_unique<Worker>("store-writer", std::move(db), Batching::group_commit);
        for (int i = 0; i < std::max(readers, 1); ++i) {
            readers_.push_back(std::make_unique<Worker>(
                fmt::format("store-reader-{}", i),
                std::make_unique<Database>(path_, OpenMode::read_only), Batching::one_by_one
            ));
        }
    }

    template <class Work>
    auto write(Work work) {
        return writer_->run(std::move(work));
    }

    /// On the reader that has least to do.
    template <class Work>
    auto read(Work work) {
        const auto least =
            std::min_element(readers_.begin(), readers_.end(), [](const auto& a, const auto& b) {
                return a->load() < b->load();
            });
        return (*least)->run(std::move(work));
    }

    /// A connection of its own: readers wait for nobody who reads a whole file.
    std::shared_ptr<Worker> begin_check() {
        if (!checker_.expired()) throw Error(Errc::busy, "the database is being checked already");
        auto checker = std::make_shared<Worker>(
            "store-check", std::make_unique<Database>(path_, OpenMode::read_only),
            Batching::one_by_one
        );
        checker_ = checker;
        return checker;
    }
    void end_check() {
        if (const auto checker = checker_.lock()) checker->interrupt();
    }

    /// On one reader, so that what is asked for this way follows each other.
    template <class Work>
    auto read_in_turn(Work work) {
        return readers_.front()->run(std::move(work));
    }

    asio::awaitable<void> close() {
        end_check();
        if (const auto checker = checker_.lock()) co_await checker->close();
        for (auto& reader : readers_) co_await reader->close();
        // Last: only a connection that may write folds the WAL in when it closes.
        co_await writer_->close();
        lock_.reset();
    }

    UnixMillis now() const { return clock_.now_ms(); }
    const std::string& epoch() const noexcept { return epoch_; }
    StoreHealth& health() noexcept { return health_; }

private:
    const Clock& clock_;
    std::string path_;
    std::string epoch_;
    StoreHealth health_;
    std::optional<StateLock> lock_;   // Goes last: until then the files are ours.
    std::unique_ptr<Worker> writer_;  // After the readers, see close().
    std::vector<std::unique_ptr<Worker>> readers_;
    std::weak_ptr<Worker> checker_;  // of the check that runs
};

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Store::~Store() = default;

std::unique_ptr<Store> Store::open(StoreOptions options, const Clock& clock) {
    auto lock = StateLock::take(folder_of(options.path));
    auto db = open_database(options.path);
    auto impl =
        std::make_unique<Impl>(std::move(lock), std::move(db), options.read_connections, clock);
    return std::unique_ptr<Store>(new Store(std::move(impl)));
}

const std::string& Store::epoch() const noexcept { return impl_->epoch(); }

/// A page that cannot be read at all ends the check: that is a problem like the others.
static std::vector<std::string> read_pages(Database& db) {
    try {
        return check_pages(db);
    } catch (const Error& error) {
        if (db.interrupted()) throw;
        return {error.what()};
    }
}

// None of these is a coroutine: the lambda stays out of any co_await expression (style C4).

asio::awaitable<void> Store::append(Append append) {
    auto work = [append = std::move(append)](Database& db) { append_to_log(db, append); };
    return impl_->write(std::move(work));
}

asio::awaitable<void> Store::checkpoint(std::vector<CheckpointRow> rows) {
    auto work = [rows = std::move(rows)](Database& db) { put_checkpoints(db, rows); };
    return impl_->write(std::move(work));
}

asio::awaitable<std::vector<CheckpointRow>> Store::checkpoints(SessionId session) {
    auto work = [session = std::move(session)](Database& db) {
        return list_checkpoints(db, session);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<std::vector<StreamRow>> Store::streams(CageId cage) {
    auto work = [cage = std::move(cage)](Database& db) { return list_streams(db, cage); };
    return impl_->read(std::move(work));
}

asio::awaitable<std::string> Store::events_page_json(
    SessionId session, std::int64_t after, std::int64_t limit
) {
    auto work = [session = std::move(session), after, limit](Database& db) {
        return page_after(db, session, after, limit);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<std::string> Store::events_page_json_before(
    SessionId session, std::int64_t before, std::int64_t limit
) {
    auto work = [session = std::move(session), before, limit](Database& db) {
        return page_before(db, session, before, limit);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<std::vector<Event>> Store::events(
    SessionId session, std::int64_t after, std::int64_t limit
) {
    auto work = [session = std::move(session), after, limit](Database& db) {
        return list_events(db, session, after, limit);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<std::string> Store::export_lines(
    SessionId session, std::int64_t after, std::int64_t limit
) {
    auto work = [session = std::move(session), after, limit](Database& db) {
        return export_after(db, session, after, limit);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<ChainVerdict> Store::verify(SessionId session) {
    auto work = [session = std::move(session)](Database& db) { return verify_chain(db, session); };
    return impl_->read(std::move(work));
}

asio::awaitable<std::optional<SessionRow>> Store::find_session(SessionId session) {
    auto work = [session = std::move(session)](Database& db) {
        return store::find_session(db, session);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<SessionPage> Store::sessions(SessionFilter filter) {
    auto work = [filter = std::move(filter)](Database& db) { return list_sessions(db, filter); };
    return impl_->read(std::move(work));
}

asio::awaitable<std::vector<SessionRow>> Store::unfinished_sessions() {
    return impl_->read(&list_unfinished_sessions);
}

asio::awaitable<std::optional<RunRow>> Store::find_run(RunId run) {
    auto work = [run = std::move(run)](Database& db) { return store::find_run(db, run); };
    return impl_->read(std::move(work));
}

asio::awaitable<std::vector<RunRow>> Store::runs(SessionId session) {
    auto work = [session = std::move(session)](Database& db) { return list_runs(db, session); };
    return impl_->read(std::move(work));
}

asio::awaitable<std::vector<FiringRow>> Store::firings(SessionId session) {
    auto work = [session = std::move(session)](Database& db) { return list_firings(db, session); };
    return impl_->read(std::move(work));
}

asio::awaitable<void> Store::add_connections(std::vector<ConnectionRow> rows) {
    auto work = [rows = std::move(rows)](Database& db) { store::add_connections(db, rows); };
    return impl_->write(std::move(work));
}

asio::awaitable<std::vector<ConnectionRow>> Store::connections(
    SessionId session, CageId cage, std::int64_t limit
) {
    auto work = [session = std::move(session), cage = std::move(cage), limit](Database& db) {
        return list_connections(db, session, cage, limit);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<std::optional<CageRow>> Store::find_cage(CageId cage) {
    auto work = [cage = std::move(cage)](Database& db) { return store::find_cage(db, cage); };
    return impl_->read(std::move(work));
}

asio::awaitable<std::optional<IdempotencyRow>> Store::find_idempotent(
    std::string scope, std::string key
) {
    auto work = [scope = std::move(scope), key = std::move(key)](Database& db) {
        return store::find_idempotent(db, scope, key);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<void> Store::put_project(ProjectRow row) {
    auto work = [row = std::move(row)](Database& db) { store::put_project(db, row); };
    return impl_->write(std::move(work));
}

asio::awaitable<std::vector<ProjectRow>> Store::projects() { return impl_->read(&list_projects); }

asio::awaitable<std::optional<ProjectRow>> Store::find_project(std::string name) {
    auto work = [name = std::move(name)](Database& db) { return store::find_project(db, name); };
    return impl_->read(std::move(work));
}

asio::awaitable<bool> Store::remove_project(std::string name) {
    auto work = [name = std::move(name)](Database& db) { return store::remove_project(db, name); };
    return impl_->write(std::move(work));
}

asio::awaitable<void> Store::insert_launch_code(LaunchCodeRow row) {
    auto work = [row = std::move(row)](Database& db) { store::insert_launch_code(db, row); };
    return impl_->write(std::move(work));
}

asio::awaitable<bool> Store::consume_launch_code(std::string hash) {
    auto work = [hash = std::move(hash), now = impl_->now()](Database& db) {
        return store::consume_launch_code(db, hash, now);
    };
    return impl_->write(std::move(work));
}

asio::awaitable<void> Store::insert_device(DeviceRow row) {
    auto work = [row = std::move(row)](Database& db) { store::insert_device(db, row); };
    return impl_->write(std::move(work));
}

asio::awaitable<std::optional<DeviceRow>> Store::find_device(std::string token_hash) {
    auto work = [token_hash = std::move(token_hash)](Database& db) {
        return store::find_device(db, token_hash);
    };
    return impl_->read(std::move(work));
}

asio::awaitable<std::vector<DeviceRow>> Store::devices() { return impl_->read(&list_devices); }

asio::awaitable<void> Store::touch_device(DeviceId device, UnixMillis last_seen) {
    auto work = [device = std::move(device), last_seen](Database& db) {
        store::touch_device(db, device, last_seen);
    };
    return impl_->write(std::move(work));
}

asio::awaitable<bool> Store::revoke_device(DeviceId device) {
    auto work = [device = std::move(device), now = impl_->now()](Database& db) {
        return store::revoke_device(db, device, now);
    };
    return impl_->write(std::move(work));
}

asio::awaitable<std::int64_t> Store::prune() {
    auto work = [now = impl_->now()](Database& db) { return prune_rows(db, now); };
    return impl_->write(std::move(work));
}

asio::awaitable<Counts> Store::counts() { return impl_->read(&count_rows); }

asio::awaitable<BackupFile> Store::back_up(std::size_t keep) {
    auto work = [keep, now = impl_->now()](Database& db) {
        const auto folder = backups_beside(db.path());
        auto made = create_backup(db, folder, now);
        (void)keep_backups(folder, keep);
        return made;
    };
    // Two of one second have one name, and one unfinished file.
    return impl_->read_in_turn(std::move(work));
}

asio::awaitable<std::vector<BackupFile>> Store::backups() {
    const auto work = [](Database& db) { return list_backups(backups_beside(db.path())); };
    return impl_->read(work);
}

asio::awaitable<std::vector<std::string>> Store::check_pages() {
    const auto checker = impl_->begin_check();
    auto found = co_await checker->run(&read_pages);
    impl_->health() = {impl_->now(), found};
    co_return found;
}

void Store::end_check() { impl_->end_check(); }

const StoreHealth& Store::health() const noexcept { return impl_->health(); }

asio::awaitable<void> Store::close() { return impl_->close(); }

}  // namespace volary::store
