// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/salvage_target.hpp"

#include "base/error.hpp"
#include "daemon/store/access_rows.hpp"
#include "daemon/store/backup.hpp"
#include "daemon/store/connections.hpp"
#include "daemon/store/log.hpp"
#include "daemon/store/state_folder.hpp"
#include "daemon/store/wal.hpp"

#include <utility>

namespace volary::store {

SalvageTarget::SalvageTarget(std::string database)
    : database_(std::move(database)),
      draft_(database_ + ".salvaging"),
      db_(open_database(draft_.path())) {
    // Nobody needs a half of it: all is synced when it is published.
    db_->exec("PRAGMA synchronous = OFF");
}

SalvageTarget::~SalvageTarget() = default;

void SalvageTarget::append(const Append& append) {
    Transaction transaction(*db_);
    append_to_log(*db_, append);
    transaction.commit();
}

void SalvageTarget::keep_answers(
    const SessionId& session, const std::vector<IdempotencyRow>& rows
) {
    Transaction transaction(*db_);
    for (const auto& row : rows) {
        Append append;
        append.session = session;
        append.idempotency = row;
        append_to_log(*db_, append);
    }
    transaction.commit();
}

void SalvageTarget::put_projects(const std::vector<ProjectRow>& rows) {
    Transaction transaction(*db_);
    for (const auto& row : rows) put_project(*db_, row);
    transaction.commit();
}

void SalvageTarget::put_checkpoints(const std::vector<CheckpointRow>& rows) {
    Transaction transaction(*db_);
    store::put_checkpoints(*db_, rows);
    transaction.commit();
}

void SalvageTarget::add_connections(const std::vector<ConnectionRow>& rows) {
    Transaction transaction(*db_);
    store::add_connections(*db_, rows);
    transaction.commit();
}

std::string SalvageTarget::publish(UnixMillis now) {
    db_.reset();
    leave_wal(draft_.path());
    auto kept = move_aside(database_, now);
    draft_.publish(database_);
    return kept;
}

struct FolderHold::Held {
    StateLock lock;
};

FolderHold::FolderHold(const std::string& folder)
    : held_(std::make_unique<Held>(StateLock::take(folder))) {}

FolderHold::~FolderHold() = default;

bool is_whole(const std::string& database) {
    try {
        return read_wal(database).problem.empty() && verify_database(database).problems.empty();
    } catch (const Error&) {
        return false;
    }
}

}  // namespace volary::store
