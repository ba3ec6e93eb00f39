// SPDX-License-Identifier: Apache-2.0
#include "cage/use.hpp"

#include "base/unique_fd.hpp"
#include "cage/processes.hpp"

#include <cerrno>
#include <fcntl.h>
#include <linux/magic.h>
#include <string_view>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// st_blocks counts in these (stat(2)).
constexpr std::uint64_t kBlock = 512;

/// A listing of `name`, never through a link; below a descriptor of any kind.
int open_folder(int parent, const char* name) {
    constexpr int kHow = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const int fd = ::openat(parent, name, kHow);
    if (fd >= 0 || errno != EACCES) return fd;
    const UniqueFd place(::openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    const auto path = fmt::format("/proc/self/fd/{}", place.get());
    if (!place || ::chmod(path.c_str(), 0700) < 0) return -1;
    return ::openat(parent, name, kHow);
}

}  // namespace

bool FamilySample::step(std::size_t count) {
    for (; count > 0 && next_ < pids_.size(); --count, ++next_) {
        const auto pid = pids_[next_];
        add_children(pid, pids_);
        ProcessState state;
        if (!look_at(pid, state) || !is_alive(state.state)) continue;
        ++processes_;
        pages_ += state.rss_pages;
        ticks_ += state.cpu_ticks;
    }
    return next_ < pids_.size();
}

std::uint64_t FamilySample::resident_bytes() const noexcept {
    static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return pages_ * page;
}

std::chrono::microseconds FamilySample::cpu_time() const noexcept {
    static const auto per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
    return std::chrono::microseconds(ticks_ * 1'000'000U / per_second);
}

TreeSample::TreeSample(int root) { enter(root, "."); }

void TreeSample::enter(int parent, const char* name) {
    if (open_.size() >= kMaxDepth) {
        too_deep_ = true;
        return;
    }
    const int fd = open_folder(parent, name);
    if (fd < 0) return;
    open_.emplace_back(::fdopendir(fd));
    if (open_.back()) return;
    ::close(fd);
    open_.pop_back();
}

bool TreeSample::step(std::size_t count) {
    for (; count > 0 && !open_.empty(); --count) {
        auto* const folder = open_.back().get();
        const auto* entry = ::readdir(folder);
        if (entry == nullptr) {
            open_.pop_back();
            continue;
        }
        const std::string_view name = entry->d_name;
        struct stat info{};
        if (name == "." || name == "..") continue;
        if (::fstatat(::dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
        ++files_;
        bytes_ += static_cast<std::uint64_t>(info.st_blocks) * kBlock;
        if (S_ISDIR(info.st_mode)) enter(::dirfd(folder), entry->d_name);
    }
    return !open_.empty();
}

TmpfsUse tmpfs_use(pid_t pid, const std::string& folder) {
    // The cage cannot move its mount points, but what it can write may hold links.
    const auto path = fmt::format("/proc/{}/root{}", pid, folder);
    const UniqueFd there(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct statfs found{};
    if (!there || ::fstatfs(there.get(), &found) != 0) return {};
    // A bind of the host's own disk has figures of its own, and is not ours to judge.
    if (found.f_type != TMPFS_MAGIC || found.f_files < found.f_ffree) return {};
    const auto blocks = found.f_blocks - found.f_bfree;
    return {blocks * static_cast<std::uint64_t>(found.f_bsize), found.f_files - found.f_ffree};
}

}  // namespace volary::cage
