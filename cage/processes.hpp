// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace volary::cage {

/// What /proc/PID/stat tells that we need.
struct ProcessState {
    char state = 'X';  ///< R, S, D, T, Z, X ... (proc(5))
    pid_t parent = 0;
    std::uint64_t rss_pages = 0;
};

/// Reads the text of /proc/PID/stat; false when it is not such a text. The name in it may hold
/// anything, also ") R 1".
bool parse_stat(std::string_view text, ProcessState& out) noexcept;

/// Inode of the pid namespace of `pid`; 0 when it cannot be told.
ino_t pid_namespace(pid_t pid) noexcept;

/// True when `pid` is stopped by a signal, or gone.
bool is_stopped(pid_t pid);

/// Host pids of the processes in that pid namespace that are not zombies, by a scan of /proc.
std::vector<pid_t> processes_in(ino_t pid_namespace);

/// `pid` and its descendants that are not zombies, without a scan of the whole host. May miss a
/// process that is being born; right for sampling, not for proof.
std::vector<pid_t> family_of(pid_t pid);

/// Resident bytes of these processes, shared pages counted once per process.
std::uint64_t resident_bytes(const std::vector<pid_t>& pids);

/// Files and folders in the tmpfs that `pid` sees at `folder`, an absolute path; 0 when it cannot
/// be told.
std::uint64_t files_in_tmpfs(pid_t pid, const std::string& folder);

}  // namespace volary::cage
