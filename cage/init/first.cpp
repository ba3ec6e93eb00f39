// SPDX-License-Identifier: Apache-2.0
#include "cage/init/first.hpp"

#include "base/unique_fd.hpp"
#include "cage/init/sync.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace volary::cage {
namespace {

/// The two that the first process keeps; above everything that it was given.
constexpr int kLifeline = 200;
constexpr int kChildren = 201;

StepResult enter_cgroups(const InitOptions& options) {
    for (const int procs : options.cgroups)
        if (::write(procs, "0", 1) != 1) return step_error("enter cgroup", "cgroup.procs");
    return {};
}

StepResult take_stdio(const InitOptions& options) {
    for (int to = 0; to <= 2; ++to)
        if (options.stdio[to] >= 0 && ::dup2(options.stdio[to], to) < 0)
            return step_error("duplicate descriptor", "stdio");
    return {};
}

StepResult move_sync(InitOptions& options) {
    int pair[2];
    const int on = 1;
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return step_error("socketpair");
    const UniqueFd theirs(pair[0]);
    if (::setsockopt(theirs.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return step_error("set SO_PASSCRED");
    if (!send_with(options.sync, sync::kMoved, theirs.get())) return step_error("move the socket");
    options.sync = pair[1];
    return {};
}

/// Ends when the runner does, with its status. The kernel then ends what is left of the namespace.
void reap_until(pid_t runner) {
    signalfd_siginfo drained[8];
    while (::read(kChildren, drained, sizeof drained) > 0) {
    }
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != runner) continue;
        ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

[[noreturn]] void watch(pid_t runner) {
    // Whoever waits for the end of a pipe must not wait for this process.
    (void)::syscall(SYS_close_range, 0, kLifeline - 1, 0);
    (void)::syscall(SYS_close_range, kChildren + 1, ~0U, 0);
    pollfd waits[2] = {{kChildren, POLLIN, 0}, {kLifeline, POLLIN, 0}};
    while (true) {
        if (::poll(waits, 2, -1) < 0 && errno != EINTR) ::_exit(sync::kExitFailed);
        reap_until(runner);
        // Nobody is left who would end this cage.
        if (waits[1].revents != 0) ::_exit(sync::kExitFailed);
    }
}

}  // namespace

StepResult read_environment(int file, Environment& out) {
    if (file < 0) return {};
    struct stat info{};
    if (::fstat(file, &info) < 0) return step_error("look at the environment");
    out.text.resize(static_cast<std::size_t>(info.st_size));
    if (::pread(file, out.text.data(), out.text.size(), 0) != info.st_size)
        return step_error("read the environment");
    for (std::size_t at = 0; at < out.text.size();) {
        const auto end = out.text.find('\0', at);
        if (end == std::string::npos) return StepError{"read the environment", "cut off", 0};
        out.pointers.push_back(out.text.data() + at);
        at = end + 1;
    }
    out.pointers.push_back(nullptr);
    return {};
}

bool send_with(int socket, char kind, int descriptor) {
    iovec part{&kind, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (descriptor >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        auto* c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
    }
    return ::sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

StepResult become_first(InitOptions& options, FilterProgram& outer) {
    if (auto failed = move_sync(options)) return failed;
    if (auto failed = enter_cgroups(options)) return failed;
    if (auto failed = take_stdio(options)) return failed;
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return step_error("set no_new_privs");
    UniqueFd none;
    if (auto failed = install_filter(outer, false, none)) return failed;
    sigset_t child;
    ::sigemptyset(&child);
    ::sigaddset(&child, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &child, nullptr);
    if (::dup3(options.lifeline, kLifeline, O_CLOEXEC) < 0)
        return step_error("duplicate descriptor", "lifeline");
    const UniqueFd children(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!children || ::dup3(children.get(), kChildren, O_CLOEXEC) < 0)
        return step_error("signalfd");
    const auto runner = ::fork();
    if (runner < 0) return step_error("fork");
    if (runner > 0) watch(runner);
    // Whoever joins the session of the first process could send signals to its group.
    (void)::setsid();
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) < 0)
        return step_error("enter working directory", options.folder);
    return {};
}

}  // namespace volary::cage
