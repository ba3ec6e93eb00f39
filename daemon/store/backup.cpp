// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/backup.hpp"

#include "base/error.hpp"
#include "daemon/store/database.hpp"
#include "daemon/store/draft_file.hpp"
#include "daemon/store/log.hpp"
#include "daemon/store/migrations.hpp"
#include "daemon/store/state_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::store {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "volary-";
constexpr std::string_view kSuffix = ".db";
/// Problems told of one database: a damaged one may have as many as it has pages.
constexpr std::size_t kMaxProblems = 20;

std::optional<UnixMillis> time_in(std::string_view name) {
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
    const std::string stamp(name.substr(kPrefix.size(), 16));
    tm parts{};
    const char* end = ::strptime(stamp.c_str(), kStampFormat, &parts);
    if (end == nullptr || *end != '\0') return std::nullopt;
    return static_cast<UnixMillis>(::timegm(&parts)) * 1000;
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

/// Backups follow each other: what is unfinished is of a daemon that died.
void remove_unfinished(const std::string& folder) {
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(folder, failed)) {
        const auto name = entry.path().filename().string();
        const bool ours = name.starts_with(kPrefix) && name.find(".db.part") != std::string::npos;
        if (ours) (void)::unlink(entry.path().c_str());
    }
}

}  // namespace

std::string backups_beside(const std::string& database) { return folder_of(database) + "/backups"; }

std::vector<std::string> check_pages(Database& db) {
    std::vector<std::string> problems;
    // SQLite forgets an interrupt when no statement runs: this one runs all the time, so that an
    // interrupt is seen here or by the check.
    auto open = db.prepare("SELECT 1 UNION ALL SELECT 2");
    (void)open.step();
    const auto stop_if_asked = [&] {
        if (db.interrupted()) throw Error(Errc::unavailable, "the check of the database was ended");
    };
    stop_if_asked();
    auto check = db.prepare(fmt::format("PRAGMA integrity_check({})", kMaxProblems));
    while (check.step()) {
        if (check.view(0) != "ok") problems.push_back(check.text(0));
    }
    // What an interrupted check says of pages that it did not read is not true.
    stop_if_asked();
    return problems;
}

BackupFile create_backup(Database& db, const std::string& folder, UnixMillis now) {
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("make folder", folder);
    remove_unfinished(folder);
    const auto name = fmt::format("{}{}{}", kPrefix, stamp_of(now), kSuffix);
    const auto path = folder + "/" + name;
    const DraftFile draft(path + ".part");
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
    const DraftFile draft(database + ".restored");
    open_to_read(backup)->copy_to(draft.path());
    leave_wal(draft.path());
    Database(draft.path(), OpenMode::read_write)
        .exec("UPDATE meta SET value = lower(hex(randomblob(16))) WHERE key = 'epoch'");
    out.kept = move_aside(database, now);
    draft.publish(database);
    return out;
}

}  // namespace volary::store
