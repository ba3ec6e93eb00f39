// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"

#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace volary {

/// How a process ended: an exit code, or the signal that killed it.
struct ExitStatus {
    int code = 0;    ///< 0..255; meaningful when `signal` is 0
    int signal = 0;  ///< signal number, 0 if it exited by itself

    bool ok() const noexcept { return code == 0 && signal == 0; }
    /// Shell convention: the code, or 128 + signal.
    int shell_code() const noexcept { return signal != 0 ? 128 + signal : code; }
    bool operator==(const ExitStatus&) const = default;
};

/// "exit 2" or "killed by SIGKILL".
std::string to_string(const ExitStatus& status);

/// `inherited` keeps the caller's session and process group, for a program that shares a terminal.
enum class ChildSession { own, inherited };

/// What a child gets, and nothing else: no inherited environment, no inherited descriptors.
struct ChildSpec {
    std::vector<std::string> argv;  ///< argv[0] is the path that is executed
    std::vector<std::string> env;   ///< "NAME=value"
    /// (descriptor here, number in the child). 0, 1, 2 that are not listed become /dev/null.
    std::vector<std::pair<int, int>> fds;
    std::string working_directory;  ///< empty: "/"
    ChildSession session = ChildSession::own;
};

/// A process that this program started, held by its pidfd. Reaped by wait(), or killed and
/// reaped by the destructor.
class Child {
public:
    /// posix_spawn: never a fork of this (large) process. The child gets an own session.
    /// Throws Error{io} naming the program.
    static Child spawn(const ChildSpec& spec);

    Child() = default;
    Child(Child&& other) noexcept;
    Child& operator=(Child&& other) noexcept;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    pid_t pid() const noexcept { return pid_; }
    int pidfd() const noexcept { return pidfd_.get(); }
    bool running() const noexcept { return pid_ > 0; }

    /// False when the process is already gone.
    bool send_signal(int signal) noexcept;

    /// Lets it go on without us: neither waited for nor killed by the destructor.
    void leave() noexcept;

    /// Waits on the event loop until it ends, reaps it. Call once.
    asio::awaitable<ExitStatus> wait();

    /// Reaps it if it has ended already; never blocks.
    bool try_reap(ExitStatus& out) noexcept;

private:
    Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

    pid_t pid_ = -1;
    UniqueFd pidfd_;
};

}  // namespace volary
