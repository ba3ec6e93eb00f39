// SPDX-License-Identifier: Apache-2.0
#include "cage/podman/launch.hpp"

#include "cage/native/root.hpp"
#include "cage/podman/stage.hpp"
#include "cage/shim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace volary::cage {
namespace {

/// Above every number that a launch brings (wire::kMaxFds).
constexpr int kLifted = 400;
/// The first of the numbers that `--preserve-fds` passes on.
constexpr int kFirst = 3;

/// Podman's own state of one container: some hundred kilobytes.
constexpr const char* kStageOptions = "mode=0700,size=32m";
/// Nothing of the host's configuration of containers is for cages. The locks would lie in the
/// host's /dev/shm, where all podmans of the user share them.
constexpr const char* kContainersConf =
    "[engine]\nlock_type = \"file\"\n[containers]\nkeyring = false\ndefault_sysctls = []\n";
constexpr const char* kStorageConf =
    "[storage]\ndriver = \"vfs\"\ngraphroot = \"/sys/fs/cgroup/state\"\n"
    "runroot = \"/sys/fs/cgroup/run\"\n";

StepResult new_file(const char* path, const char* text) {
    const UniqueFd made(::open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0400));
    if (!made) return step_error("make file", path);
    return write_file(path, text);
}

/// A user and a mount namespace in which this process is root of nobody but its own user.
StepResult enter_namespaces_of_podman() {
    const auto uid = ::getuid();
    const auto gid = ::getgid();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return step_error("unshare", "user and mount namespace of podman");
    char map[64];
    std::snprintf(map, sizeof map, "0 %u 1", uid);
    if (auto failed = write_file("/proc/self/uid_map", map)) return failed;
    std::snprintf(map, sizeof map, "0 %u 1", gid);
    return write_file("/proc/self/gid_map", map);
}

/// Podman gets the root in a namespace below the one that made it. So the kernel holds together
/// what is mounted there: nothing can be peeled off, and crun 1.8, which copies a folder without
/// the mounts below it where it can, cannot.
StepResult lock_mounts() {
    if (auto failed = enter_namespaces_of_podman()) return failed;
    // The one that crun makes for the cage, and then none in it.
    return write_file("/proc/sys/user/max_user_namespaces", "1");
}

StepResult make_stage(const wire::Launch& launch, const Prepared& prepared) {
    constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV;
    if (::mount("volary", stage::kFolder, "tmpfs", kFlags, kStageOptions) < 0)
        return step_error("mount", stage::kFolder);
    for (const char* name : stage::kFolders) {
        const auto path = std::string(stage::kFolder) + "/" + name;
        if (::mkdir(path.c_str(), 0700) < 0) return step_error("make folder", path);
    }
    const auto folder = std::string(stage::kFolder);
    if (auto failed = new_file((folder + "/containers.conf").c_str(), kContainersConf))
        return failed;
    if (auto failed = new_file((folder + "/storage.conf").c_str(), kStorageConf)) return failed;
    const UniqueFd place(::open(stage::kRoot, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!place) return step_error("open", stage::kRoot);
    return build_tree(launch, prepared, place.get());
}

/// The kept descriptors become 3, 4, ... in order. Returns where the sync socket still is.
int pass_on(const Prepared& prepared) {
    const int count = static_cast<int>(prepared.keep.size());
    int sync = prepared.sync.get();
    // Lifted first: a number may be another one's target.
    for (int i = 0; i < count; ++i) {
        const int fd = prepared.keep[static_cast<std::size_t>(i)];
        if (::dup3(fd, kLifted + i, O_CLOEXEC) < 0)
            report_and_exit(prepared.sync.get(), "keep descriptor", "");
        if (fd == prepared.sync.get()) sync = kLifted + i;
    }
    for (int i = 0; i < count; ++i)
        if (::dup2(kLifted + i, kFirst + i) < 0) report_and_exit(sync, "keep descriptor", "");
    return sync;
}

/// Never a terminal, which podman refuses to pass on, nor /dev/null, which crun opens anew for
/// writing below the read-only /dev. The runner's own come as descriptors.
void quiet(int said, int sync) {
    for (int to = 0; to <= 2; ++to)
        if (::dup2(said, to) < 0) report_and_exit(sync, "dup2", "standard streams");
}

std::string variable(const char* name, unsigned id) {
    return std::string(name) + "=" + std::to_string(id);
}

}  // namespace

void become_podman(const wire::Launch& launch, Prepared& prepared, int said) {
    const int sync = prepared.sync.get();
    const auto die = [](int on, const StepError& error) {
        errno = error.error;
        report_and_exit(on, error.step.c_str(), error.subject.c_str());
    };
    const auto uid = ::getuid();
    const auto gid = ::getgid();
    if (auto failed = enter_namespaces_of_podman()) die(sync, *failed);
    if (auto failed = make_stage(launch, prepared)) die(sync, *failed);
    if (auto failed = lock_mounts()) die(sync, *failed);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) die(sync, step_error("set no_new_privs"));
    std::string environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/sys/fs/cgroup/home",
        "XDG_RUNTIME_DIR=/sys/fs/cgroup/run",
        "TMPDIR=/sys/fs/cgroup/tmp",
        "CONTAINERS_CONF=/sys/fs/cgroup/containers.conf",
        "CONTAINERS_STORAGE_CONF=/sys/fs/cgroup/storage.conf",
        // Podman shall not make the user namespace that it is in already.
        "_CONTAINERS_USERNS_CONFIGURED=done",
        variable("_CONTAINERS_ROOTLESS_UID", uid),
        variable("_CONTAINERS_ROOTLESS_GID", gid),
    };
    std::vector<char*> variables;
    for (auto& entry : environment) variables.push_back(entry.data());
    variables.push_back(nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int quiet_said = ::fcntl(said, F_DUPFD_CLOEXEC, kLifted / 2);
    const int lifted = pass_on(prepared);
    quiet(quiet_said, lifted);
    ::execve(launch.launcher.front().c_str(), prepared.pointers.data(), variables.data());
    report_and_exit(lifted, "execute", launch.launcher.front().c_str());
}

}  // namespace volary::cage
