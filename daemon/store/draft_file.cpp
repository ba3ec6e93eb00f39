// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/draft_file.hpp"

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "daemon/store/database.hpp"
#include "daemon/store/state_folder.hpp"

#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <time.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace volary::store {
namespace {

void sync_path(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0) throw_errno("sync", path);
}

}  // namespace

std::string stamp_of(UnixMillis now) {
    const auto seconds = static_cast<time_t>(now / 1000);
    tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[24];
    const auto size = ::strftime(text, sizeof text, kStampFormat, &parts);
    return {text, size};
}

DraftFile::DraftFile(std::string path) : path_(std::move(path)) {
    (void)::unlink(path_.c_str());
    const UniqueFd made(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!made) throw_errno("create", path_);
}

DraftFile::~DraftFile() {
    (void)::unlink(path_.c_str());
    for (const char* end : {"-wal", "-shm", "-journal"}) (void)::unlink((path_ + end).c_str());
}

void DraftFile::publish(const std::string& path) const {
    sync_path(path_);
    if (std::rename(path_.c_str(), path.c_str()) != 0) throw_errno("rename", path_);
    sync_path(folder_of(path));
}

void leave_wal(const std::string& path) {
    Database copy(path, OpenMode::read_write);
    auto mode = copy.prepare("PRAGMA journal_mode = DELETE");
    (void)mode.step();
}

std::string unused_path(std::string path) {
    const auto base = path;
    for (int n = 2; std::filesystem::exists(path); ++n) path = fmt::format("{}-{}", base, n);
    return path;
}

std::string move_aside(const std::string& database, UnixMillis now) {
    namespace fs = std::filesystem;
    if (!fs::exists(database)) return {};
    const auto kept = unused_path(fmt::format("{}.replaced-{}", database, stamp_of(now)));
    // The log first: the file without it is older, the log without its file is nothing.
    for (const char* end : {"-wal", "-shm"}) {
        const auto part = database + end;
        if (fs::exists(part) && std::rename(part.c_str(), (kept + end).c_str()) != 0)
            throw_errno("rename", part);
    }
    if (std::rename(database.c_str(), kept.c_str()) != 0) throw_errno("rename", database);
    return kept;
}

}  // namespace volary::store
