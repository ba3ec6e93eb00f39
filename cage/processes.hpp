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
    std::uint64_t cpu_ticks = 0;  ///< user and system, its own and of the children it waited for
};

/// Reads the text of /proc/PID/stat; false when it is not such a text. The name in it may hold
/// anything, also ") R 1".
bool parse_stat(std::string_view text, ProcessState& out) noexcept;

/// Reads /proc/PID/stat; false when there is no such process.
bool look_at(pid_t pid, ProcessState& out);

/// False for zombies and what is past that.
bool is_alive(char state) noexcept;

/// Appends the children of the first thread of `pid`.
void add_children(pid_t pid, std::vector<pid_t>& out);

/// Inode of the pid namespace of `pid`; 0 when it cannot be told.
ino_t pid_namespace(pid_t pid) noexcept;

/// True when `pid` is stopped by a signal, or gone.
bool is_stopped(pid_t pid);

/// Host pids of the processes in that pid namespace that are not zombies, by a scan of /proc.
std::vector<pid_t> processes_in(ino_t pid_namespace);

/// `pid` and its descendants that are not zombies, without a scan of the whole host. May miss a
/// process that is being born; right for sampling, not for proof.
std::vector<pid_t> family_of(pid_t pid);

/// True when a socket of the network namespace of `pid` listens on TCP `port` of 127.0.0.1, ::1 or
/// every address (/proc/PID/net/tcp and tcp6, proc(5)); false when it cannot be told.
bool listens_on(pid_t pid, std::uint16_t port);
/// The same for the text of such a file.
bool has_listener(std::string_view table, std::uint16_t port) noexcept;

}  // namespace volary::cage
