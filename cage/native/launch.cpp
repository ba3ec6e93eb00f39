// SPDX-License-Identifier: Apache-2.0
#include "cage/native/launch.hpp"

#include "cage/init/sync.hpp"
#include "cage/native/root.hpp"
#include "cage/shim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace volary::cage {
namespace {

constexpr std::uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;

/// setgroups is denied already: the shim's user namespace, which is ours' parent, denies it.
StepResult map_user(const wire::Native& native, uid_t uid, gid_t gid) {
    char map[64];
    std::snprintf(map, sizeof map, "%u %u 1", native.uid, uid);
    if (auto failed = write_file("/proc/self/uid_map", map)) return failed;
    std::snprintf(map, sizeof map, "%u %u 1", native.gid, gid);
    return write_file("/proc/self/gid_map", map);
}

/// The limit counts in every namespace up to the host's; only CAP_SYS_RESOURCE in this one could
/// raise it again, which nothing in the cage ever has.
StepResult forbid_user_namespaces() {
    return write_file("/proc/sys/user/max_user_namespaces", "0");
}

StepResult enter_cgroup_namespace(const wire::Launch& launch, const Prepared& prepared) {
    if (launch.joins.empty()) return {};
    // After the move, so that the cage's own folder is the root of what it sees.
    join_cgroups(launch, prepared);
    if (::unshare(CLONE_NEWCGROUP) < 0) return step_error("unshare", "cgroup namespace");
    return {};
}

/// The first process keeps the right to have one capability that is good for nothing in a user
/// namespace (the kernel asks the host's namespace about it), and does not have it in effect. So
/// the runner, which has none, may not look into the first process although it is the same user
/// (ptrace(2): the permitted set must be a subset), while the daemon may: unlike "not dumpable".
StepResult keep_apart() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    sets[CAP_TO_INDEX(CAP_WAKE_ALARM)].permitted = CAP_TO_MASK(CAP_WAKE_ALARM);
    if (::syscall(SYS_capset, &header, sets) < 0) return step_error("drop capabilities");
    return {};
}

StepResult give_up_privileges(const std::string& filter) {
    for (int capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;) ++capability;
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return step_error("set no_new_privs");
    if (auto failed = keep_apart()) return failed;
    sock_fprog program{};
    program.len = static_cast<unsigned short>(filter.size() / sizeof(sock_filter));
    program.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(filter.data()));
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return step_error("install", "seccomp filter");
    return {};
}

StepResult build(const wire::Launch& launch, const Prepared& prepared, uid_t uid, gid_t gid) {
    const auto& native = *launch.native;
    // When the shim dies, so does the cage.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return step_error("set death signal");
    if (auto failed = map_user(native, uid, gid)) return failed;
    if (auto failed = enter_cgroup_namespace(launch, prepared)) return failed;
    if (auto failed = forbid_user_namespaces()) return failed;
    if (::sethostname(native.hostname.c_str(), native.hostname.size()) < 0)
        return step_error("set host name");
    if (auto failed = build_root(launch, prepared)) return failed;
    return give_up_privileges(launch.data[native.filter]);
}

/// A fork has the shim's command line, which is a path of the host, and everybody in the cage reads
/// that of the first process.
void take_own_name() {
    constexpr const char* kName = "cage";
    const auto size = std::strlen(program_invocation_name);
    std::memset(program_invocation_name, 0, size);
    std::memcpy(program_invocation_name, kName, std::min(size, std::strlen(kName)));
    (void)::prctl(PR_SET_NAME, kName, 0, 0, 0);
}

/// Reaps orphans until the runner ends. The kernel then kills what is left of the namespace.
[[noreturn]] void reap_until(pid_t runner) {
    // Whoever waits for the end of a pipe must not wait for this process.
    (void)::syscall(SYS_close_range, 0, ~0U, 0);
    while (true) {
        int status = 0;
        const auto pid = ::waitpid(-1, &status, 0);
        if (pid < 0 && errno != EINTR) ::_exit(sync::kExitFailed);
        if (pid != runner) continue;
        ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

struct Environment {
    std::vector<char*> pointers;
};

[[noreturn]] void become_first(
    const wire::Launch& launch, const Prepared& prepared, const Environment& environment, uid_t uid,
    gid_t gid
) {
    const int sync = prepared.sync.get();
    if (auto failed = build(launch, prepared, uid, gid)) {
        errno = failed->error;
        report_and_exit(sync, failed->step.c_str(), failed->subject.c_str());
    }
    take_descriptors(launch, prepared);
    take_own_name();
    const auto runner = ::vfork();
    if (runner < 0) report_and_exit(sync, "fork", "");
    if (runner > 0) reap_until(runner);
    if (drop_capabilities()) report_and_exit(sync, "drop capabilities", "");
    if (!launch.keep_session) (void)::setsid();
    ::execve(prepared.argv[0].c_str(), prepared.pointers.data(), environment.pointers.data());
    report_and_exit(sync, "execute", prepared.argv[0].c_str());
}

}  // namespace

StepResult start_native(const wire::Launch& launch, Prepared& prepared, pid_t& first) {
    const auto& native = *launch.native;
    if (native.filter >= launch.data.size() || prepared.argv.empty())
        return StepError{"read launch", "no seccomp filter or command", 0};
    Environment environment;
    for (const auto& entry : native.env)
        environment.pointers.push_back(const_cast<char*>(entry.c_str()));
    environment.pointers.push_back(nullptr);
    clone_args args{};
    args.flags = kNamespaces;
    if (launch.joins.empty()) args.flags |= CLONE_NEWCGROUP;
    args.exit_signal = SIGCHLD;
    const auto uid = ::getuid();
    const auto gid = ::getgid();
    // Not glibc's clone(): this wants neither a stack nor a function, it is a fork.
    const auto pid = ::syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) return step_error("clone", "namespaces");
    if (pid == 0) become_first(launch, prepared, environment, uid, gid);
    first = static_cast<pid_t>(pid);
    return {};
}

}  // namespace volary::cage
