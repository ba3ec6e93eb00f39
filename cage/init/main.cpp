// SPDX-License-Identifier: Apache-2.0
// volary-init: the first program of ours inside a cage. It closes what it was not given, sets the
// limits, locks itself in, tells the shim, and becomes the runner.
#include "base/unique_fd.hpp"
#include "cage/init/filter.hpp"
#include "cage/init/first.hpp"
#include "cage/init/landlock.hpp"
#include "cage/init/options.hpp"
#include "cage/init/sync.hpp"
#include "cage/shim/step.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace volary::cage {
namespace {

/// Where the socket to the shim lives until the exec: above 3, which may become the signal pipe.
constexpr int kSync = 4;
constexpr int kSignals = 3;

int sync_socket = -1;

[[noreturn]] void fail(const StepError& error) {
    char message[sync::kMaxMessage];
    int size = std::snprintf(
        message, sizeof message, "%c%d%c%s%c%s", sync::kFailed, error.error, 0, error.step.c_str(),
        0, error.subject.c_str()
    );
    if (size > sync::kMaxMessage) size = sync::kMaxMessage;
    (void)::send(sync_socket, message, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    ::_exit(sync::kExitFailed);
}

void need(const StepResult& result) {
    if (result) fail(*result);
}

/// Where a launcher bound by path, an agent beside it could have swapped what it meant.
StepResult verify_same(const InitOptions& options) {
    for (const auto& [held, path] : options.same) {
        struct stat meant{};
        struct stat there{};
        if (::fstat(held, &meant) < 0) return step_error("look at the source of", path);
        if (::lstat(path.c_str(), &there) < 0) return step_error("look at", path);
        if (meant.st_dev != there.st_dev || meant.st_ino != there.st_ino)
            return StepError{"verify source", path + " is not what was opened beforehand", 0};
    }
    return {};
}

/// Leaves 0, 1, 2, 3 (when there is a signal pipe) and the socket to the shim, which the exec
/// closes. bwrap leaks every descriptor that it was given.
StepResult close_descriptors(const InitOptions& options) {
    // Lifted first: the two numbers may be each other's targets.
    const int sync = ::fcntl(options.sync, F_DUPFD_CLOEXEC, 64);
    if (sync < 0) return step_error("duplicate descriptor", "sync");
    sync_socket = sync;
    if (options.signals >= 0) {
        if (::dup2(options.signals, kSignals) < 0)
            return step_error("duplicate descriptor", "signals");
    } else {
        ::close(kSignals);
    }
    if (::dup3(sync, kSync, O_CLOEXEC) < 0) return step_error("duplicate descriptor", "sync");
    sync_socket = kSync;
    if (::syscall(SYS_close_range, kSync + 1, ~0U, 0) < 0) return step_error("close descriptors");
    return {};
}

StepResult set_limit(int resource, std::uint64_t value, const char* name) {
    rlimit limit{value, value};
    rlimit now{};
    ::getrlimit(static_cast<__rlimit_resource>(resource), &now);
    // Never raised beyond what the host allows.
    if (limit.rlim_max > now.rlim_max) limit = {now.rlim_max, now.rlim_max};
    if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) < 0)
        return step_error("set limit", name);
    return {};
}

StepResult set_limits(const InitOptions& options) {
    if (auto failed = set_limit(RLIMIT_CORE, 0, "core")) return failed;
    if (options.files != 0)
        if (auto failed = set_limit(RLIMIT_NOFILE, options.files, "files")) return failed;
    if (options.processes != 0)
        if (auto failed = set_limit(RLIMIT_NPROC, options.processes, "processes")) return failed;
    if (options.data != 0)
        if (auto failed = set_limit(RLIMIT_DATA, options.data, "data")) return failed;
    return {};
}

void reset_signals() {
    for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

StepResult verify_no_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    if (::syscall(SYS_capget, &header, sets) < 0) return step_error("read capabilities");
    for (const auto& set : sets) {
        if ((set.effective | set.permitted | set.inheritable) != 0)
            return StepError{"verify capabilities", "the cage still has some", 0};
    }
    return {};
}

/// A protected path below a folder that agents write could have been swapped for a symbolic link
/// while bwrap mounted (bwrap 0.8 follows links at destinations): then the mount is elsewhere, and
/// the path is no read-only mount point.
StepResult verify_place(const std::string& path, bool read_only) {
    const UniqueFd place(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!place) return step_error("open protected path", path);
    struct statx info{};
    if (::statx(place.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &info) < 0)
        return step_error("look at protected path", path);
    struct statvfs mount{};
    if (::fstatvfs(place.get(), &mount) < 0) return step_error("look at protected path", path);
    const bool root = (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    if (!root || (read_only && (mount.f_flag & ST_RDONLY) == 0))
        return StepError{"verify protected path", path + " is not what was mounted there", 0};
    return {};
}

StepResult verify_places(const InitOptions& options) {
    for (const auto& path : options.sealed)
        if (auto failed = verify_place(path, true)) return failed;
    for (const auto& path : options.mounted)
        if (auto failed = verify_place(path, false)) return failed;
    return {};
}

/// Says that all is applied, with the filter's listener where there is one.
void wait_for_go(UniqueFd listener) {
    char answer = 0;
    if (!send_with(kSync, sync::kReady, listener.get())) ::_exit(sync::kExitFailed);
    listener.reset();
    while (::recv(kSync, &answer, 1, 0) < 0 && errno == EINTR) {
    }
    // The shim has gone: nobody would hold this cage.
    if (answer != sync::kGo) ::_exit(sync::kExitFailed);
}

/// With --first: what bwrap would have done. Returns in the runner's process.
StepResult prepare_first(InitOptions& options, Environment& environment) {
    FilterProgram outer;
    if (options.lifeline < 0) return {};
    if (options.outer < 0) return StepError{"read the filter", "--outer is missing", 0};
    if (auto failed = read_environment(options.environment, environment)) return failed;
    if (auto failed = read_filter(options.outer, outer)) return failed;
    auto failed = become_first(options, outer);
    sync_socket = options.sync;
    return failed;
}

}  // namespace
}  // namespace volary::cage

int main(int argc, char** argv) {
    using namespace volary::cage;
    if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
        std::puts("volary-init " VOLARY_VERSION);
        return 0;
    }
    if (argc > 1 && std::strcmp(argv[1], "--can-notify") == 0) return can_notify() ? 0 : 1;
    InitOptions options;
    std::string problem;
    if (!parse_init_options(argc, argv, options, problem)) {
        std::fprintf(stderr, "volary-init: not a command line of volary: %s\n", problem.c_str());
        return 2;
    }
    FilterProgram filter;
    volary::UniqueFd listener;
    sync_socket = options.sync;
    Environment environment;
    need(prepare_first(options, environment));
    need(verify_same(options));
    need(read_filter(options.seccomp, filter));
    need(close_descriptors(options));
    reset_signals();
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(step_error("set no_new_privs"));
    need(verify_no_capabilities());
    need(verify_places(options));
    need(set_limits(options));
    need(apply_landlock(options));
    // Last: from here on even this program is held to what the command may do.
    need(install_filter(filter, options.listener, listener));
    wait_for_go(std::move(listener));
    if (!environment.pointers.empty()) environ = environment.pointers.data();
    ::execvp(options.command[0], options.command.data());
    fail(step_error("execute", options.command[0]));
}
