// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/backup.hpp"

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "daemon/store/database.hpp"
#include "daemon/store/log.hpp"
#include "daemon/store/migrations.hpp"
#include "daemon/store/state_folder.hpp"

#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::store {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStamp = "%Y%m%dT%H%M%SZ";
constexpr std::string_view kPrefix = "volary-";
constexpr std::string_view kSuffix = ".db";
/// Problems told of one database: a damaged one may have as many as it has pages.
constexpr std::size_t kMaxProblems = 20;

std::string stamp_of(UnixMillis now) {
    const auto seconds = static_cast<time_t>(now / 1000);
    tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[24];
    const auto size = ::strftime(text, sizeof text, kStamp, &parts);
    return {text, size};
}

std::optional<UnixMillis> time_in(std::string_view name) {
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
    const std::string stamp(name.substr(kPrefix.size(), 16));
    tm parts{};
    const char* end = ::strptime(stamp.c_str(), kStamp, &parts);
    if (end == nullptr || *end != '\0') return std::nullopt;
    return static_cast<UnixMillis>(::timegm(&parts)) * 1000;
}

/// A copy under way: its unfinished file goes when it is not published.
class Draft {
public:
    explicit Draft(std::string path) : path_(std::move(path)) {
        (void)::unlink(path_.c_str());
        const UniqueFd made(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!made) throw_errno("create", path_);
    }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;
    ~Draft() {
        (void)::unlink(path_.c_str());
        for (const char* end : {"-wal", "-shm", "-journal"}) (void)::unlink((path_ + end).c_str());
    }

    const std::string& path() const noexcept { return path_; }

    void publish(const std::string& path) const {
        sync(path_);
        if (std::rename(path_.c_str(), path.c_str()) != 0) throw_errno("rename", path_);
        sync(folder_of(path));
    }

private:
    static void sync(const std::string& path) {
        const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd || ::fsync(fd.get()) != 0) throw_errno("sync", path);
    }

    std::string path_;
};

/// A copy has the mark of WAL in its header; alone, and only read, it needs none.
void leave_wal(const std::string& path) {
    Database copy(path, OpenMode::read_write);
    auto mode = copy.prepare("PRAGMA journal_mode = DELETE");
    (void)mode.step();
}

void check_logs(Database& db, DatabaseVerdict& verdict) {
    auto list = db.prepare("SELECT id FROM session ORDER BY no");
    while (list.step()) {
        const SessionId session(list.text(0));
        const auto chain = verify_chain(db, session);
        ++verdict.sessions;
        verdict.events += chain.events;
        if (!chain.problem.empty() && verdict.problems.size() < kMaxProblems)
            verdict.problems.push_back(fmt::format("session {}: {}", session.str(), chain.problem));
    }
}

std::string unused(std::string path) {
    const auto base = path;
    for (int n = 2; fs::exists(path); ++n) path = fmt::format("{}-{}", base, n);
    return path;
}

/// Moves the database that is there, damaged or not, aside with what belongs to it.
std::string move_aside(const std::string& database, UnixMillis now) {
    if (!fs::exists(database)) return {};
    const auto kept = unused(fmt::format("{}.replaced-{}", database, stamp_of(now)));
    // The log first: the file without it is older, the log without its file is nothing.
    for (const char* end : {"-wal", "-shm"}) {
        const auto part = database + end;
        if (fs::exists(part) && std::rename(part.c_str(), (kept + end).c_str()) != 0)
            throw_errno("rename", part);
    }
    if (std::rename(database.c_str(), kept.c_str()) != 0) throw_errno("rename", database);
    return kept;
}

}  // namespace

std::string backups_beside(const std::string& database) { return folder_of(database) + "/backups"; }

std::vector<std::string> check_pages(Database& db) {
    std::vector<std::string> problems;
    auto check = db.prepare(fmt::format("PRAGMA integrity_check({})", kMaxProblems));
    while (check.step()) {
        if (check.view(0) != "ok") problems.push_back(check.text(0));
    }
    return problems;
}

BackupFile create_backup(Database& db, const std::string& folder, UnixMillis now) {
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("make folder", folder);
    const auto name = fmt::format("{}{}{}", kPrefix, stamp_of(now), kSuffix);
    const auto path = folder + "/" + name;
    const Draft draft(path + ".part");
    db.copy_to(draft.path());
    leave_wal(draft.path());
    Database copy(draft.path(), OpenMode::read_only);
    auto check = copy.prepare("PRAGMA quick_check(1)");
    if (!check.step() || check.view(0) != "ok")
        throw Error(Errc::unavailable, "the copy of the database is damaged: " + check.text(0));
    draft.publish(path);
    return {name, path, fs::file_size(path), now / 1000 * 1000};
}

std::vector<BackupFile> list_backups(const std::string& folder) {
    std::vector<BackupFile> out;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(folder, failed)) {
        const auto name = entry.path().filename().string();
        const auto at = time_in(name);
        if (!at || !entry.is_regular_file(failed)) continue;
        out.push_back({name, entry.path().string(), entry.file_size(failed), *at});
    }
    std::ranges::sort(out, std::greater(), &BackupFile::name);
    return out;
}

std::size_t keep_backups(const std::string& folder, std::size_t keep) {
    std::size_t removed = 0;
    const auto all = list_backups(folder);
    for (std::size_t i = keep; i < all.size(); ++i)
        if (::unlink(all[i].path.c_str()) == 0) ++removed;
    return removed;
}

DatabaseVerdict verify_database(const std::string& path) {
    const auto db = open_to_read(path);
    DatabaseVerdict verdict;
    verdict.version = db->integer("PRAGMA user_version");
    const auto newest = migrations().back().version;
    if (verdict.version > newest)
        throw Error(
            Errc::unavailable, fmt::format(
                                   "\"{}\" is of version {}, this program knows up to {}", path,
                                   verdict.version, newest
                               )
        );
    try {
        verdict.problems = check_pages(*db);
        // An older schema has no hashes to follow.
        if (verdict.version == newest) check_logs(*db, verdict);
    } catch (const Error& error) {
        verdict.problems.emplace_back(error.what());
    }
    return verdict;
}

Restored restore_backup(const std::string& backup, const std::string& database, UnixMillis now) {
    const auto lock = StateLock::take(folder_of(database));
    Restored out;
    out.verdict = verify_database(backup);
    if (!out.verdict.problems.empty()) {
        Error error(Errc::invalid, fmt::format("backup \"{}\" is not restored", backup));
        throw error.with_details(out.verdict.problems);
    }
    const Draft draft(database + ".restored");
    open_to_read(backup)->copy_to(draft.path());
    leave_wal(draft.path());
    Database(draft.path(), OpenMode::read_write)
        .exec("UPDATE meta SET value = lower(hex(randomblob(16))) WHERE key = 'epoch'");
    out.kept = move_aside(database, now);
    draft.publish(database);
    return out;
}

}  // namespace volary::store
