// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <dirent.h>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace volary::cage {

/// What a cage takes. Memory, processes and cpu time are read from its cgroup at once; without one,
/// and for `disk`, they are of the last sample (every 250 ms).
struct CageUse {
    std::uint64_t memory =
        0;                   ///< bytes; without a cgroup the resident pages, shared ones each time
    std::uint32_t pids = 0;  ///< processes
    std::chrono::microseconds cpu_time{0};
    std::uint64_t disk = 0;   ///< bytes in private folders and `cow` layers
    std::uint64_t files = 0;  ///< files and folders there
    std::chrono::milliseconds elapsed{0};
};

/// A process and its descendants, looked at in steps: a cage may hold a thousand, and the loop that
/// looks has other cages. May miss a process that is being born; for sampling, not for proof.
class FamilySample {
public:
    explicit FamilySample(pid_t root) : pids_{root} {}

    /// Looks at `count` more; false when all have been seen.
    bool step(std::size_t count);

    std::uint32_t processes() const noexcept { return processes_; }
    std::uint64_t resident_bytes() const noexcept;
    /// Of the living and of those that they waited for.
    std::chrono::microseconds cpu_time() const noexcept;

private:
    std::vector<pid_t> pids_;
    std::size_t next_ = 0;
    std::uint32_t processes_ = 0;
    std::uint64_t pages_ = 0;
    std::uint64_t ticks_ = 0;
};

/// The size of a folder that a cage writes, in steps. Follows no link; a folder without read
/// permission gets it (it is ours: the upper layer of an overlay).
class TreeSample {
public:
    /// No tree that people use is deeper; what is below is not counted but told by too_deep().
    static constexpr std::size_t kMaxDepth = 200;

    /// `root`: any descriptor of the folder.
    explicit TreeSample(int root);

    /// Looks at `count` more entries at least; false when all have been seen.
    bool step(std::size_t count);

    std::uint64_t bytes() const noexcept { return bytes_; }
    std::uint64_t files() const noexcept { return files_; }
    bool too_deep() const noexcept { return too_deep_; }

private:
    struct Close {
        void operator()(DIR* folder) const noexcept { ::closedir(folder); }
    };
    void enter(int parent, const char* name);

    std::vector<std::unique_ptr<DIR, Close>> open_;  ///< from the root to where the walk is
    std::uint64_t bytes_ = 0;
    std::uint64_t files_ = 0;
    bool too_deep_ = false;
};

/// What is in the tmpfs that `pid` sees at `folder`; zeros when it cannot be told or is none.
struct TmpfsUse {
    std::uint64_t bytes = 0;
    std::uint64_t files = 0;
};
TmpfsUse tmpfs_use(pid_t pid, const std::string& folder);

}  // namespace volary::cage
