// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/live_bind.hpp"

#include "cage/shim/channel.hpp"
#include "cage/shim/overlay.hpp"
#include "cage/shim/step.hpp"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace volary::cage {
namespace {

// From include/uapi/linux/nsfs.h: the user namespace that owns a namespace.
constexpr unsigned long kOwnerOfNamespace = 0xb701;
/// A helper that hangs (a dead network file system) is ended by the kernel.
constexpr unsigned kHelperSeconds = 5;

int open_tree(int folder, const char* path, unsigned flags) {
    return static_cast<int>(
        ::syscall(SYS_open_tree, folder, path, flags | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    );
}

bool set_mount(int mount, std::uint64_t set, std::uint64_t clear, unsigned flags) {
    mount_attr attribute{};
    attribute.attr_set = set;
    attribute.attr_clr = clear;
    const auto how = flags | AT_EMPTY_PATH;
    return ::syscall(SYS_mount_setattr, mount, "", how, &attribute, sizeof attribute) == 0;
}

int open_inside(int root, const std::string& path, std::uint64_t flags) {
    open_how how{};
    how.flags = flags | O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
}

StepResult write_map(const char* path, const std::string& text) {
    const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
    if (!file || ::write(file.get(), text.data(), text.size()) < 0)
        return step_error("write", path);
    return {};
}

/// The first helper: a detached copy of the source's mount.
StepResult clone_mount(int source, bool writable, UniqueFd& out) {
    const auto user = std::to_string(::getuid());
    const auto group = std::to_string(::getgid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return step_error("unshare", "for a live bind");
    if (auto failed = write_map("/proc/self/setgroups", "deny")) return failed;
    if (auto failed = write_map("/proc/self/uid_map", user + " " + user + " 1")) return failed;
    if (auto failed = write_map("/proc/self/gid_map", group + " " + group + " 1")) return failed;
    UniqueFd again;
    if (auto failed = open_again(source, again)) return failed;
    // With what is mounted below: a copy without it would uncover what that hides.
    out.reset(open_tree(again.get(), "", AT_EMPTY_PATH | AT_RECURSIVE));
    if (!out) return step_error("clone the mount");
    std::uint64_t set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if (!writable) set |= MOUNT_ATTR_RDONLY;
    if (!set_mount(out.get(), set, 0, AT_RECURSIVE)) return step_error("restrict the mount");
    return {};
}

StepResult join(pid_t init) {
    const auto path = "/proc/" + std::to_string(init) + "/ns/mnt";
    const UniqueFd mounts(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!mounts) return step_error("open", path);
    const UniqueFd owner(::ioctl(mounts.get(), kOwnerOfNamespace));
    if (!owner) return step_error("find the owner of", path);
    if (::setns(owner.get(), CLONE_NEWUSER) < 0) return step_error("join the cage", "user");
    if (::setns(mounts.get(), CLONE_NEWNS) < 0) return step_error("join the cage", "mounts");
    return {};
}

std::uint64_t mount_id(int fd) {
    struct statx info{};
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) < 0) return 0;
    return info.stx_mnt_id;
}

/// Makes a missing target in the cage's root, which is read-only to everybody: through a writable
/// copy of that mount which nobody else sees.
StepResult make_target(int root, const std::string& target, bool folder) {
    UniqueFd copy(open_tree(root, "", AT_EMPTY_PATH));
    // A root that another namespace made (podman's) and what is mounted in it are held together.
    if (!copy && errno == EINVAL) copy.reset(open_tree(root, "", AT_EMPTY_PATH | AT_RECURSIVE));
    if (!copy || !set_mount(copy.get(), 0, MOUNT_ATTR_RDONLY, 0))
        return step_error("make a place for", target);
    UniqueFd at(::fcntl(copy.get(), F_DUPFD_CLOEXEC, 0));
    std::string_view rest = target;
    rest.remove_prefix(1);
    for (std::string path; !rest.empty();) {
        const auto slash = rest.find('/');
        const std::string name(rest.substr(0, slash));
        rest.remove_prefix(slash == rest.npos ? rest.size() : slash + 1);
        path += "/" + name;
        // A mount of the cage is not to be written to: only its root is made for this.
        const UniqueFd there(open_inside(root, path, O_NOFOLLOW));
        if (there && mount_id(there.get()) != mount_id(root)) {
            errno = ENOENT;
            return step_error("find", target);
        }
        if (rest.empty() && !folder) {
            constexpr int kHow = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
            const UniqueFd file(::openat(at.get(), name.c_str(), kHow, 0444));
            return file ? StepResult() : step_error("make", target);
        }
        if (::mkdirat(at.get(), name.c_str(), 0755) < 0 && errno != EEXIST)
            return step_error("make", target);
        at.reset(::openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!at) return step_error("make", target);
    }
    return {};
}

/// The second helper: attaches it in the cage.
StepResult attach(int mount, const std::string& target, bool folder, pid_t init) {
    if (auto failed = join(init)) return failed;
    const UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root) return step_error("open", "/");
    UniqueFd place(open_inside(root.get(), target, 0));
    if (!place && errno == ENOENT) {
        if (auto failed = make_target(root.get(), target, folder)) return failed;
        place.reset(open_inside(root.get(), target, 0));
    }
    if (!place) return step_error("find", target);
    constexpr unsigned kHow = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    if (::syscall(SYS_move_mount, mount, "", place.get(), "", kHow) < 0)
        return step_error("mount at", target);
    return {};
}

/// What a helper says: "ERRNO STEP SUBJECT" of its failure, or "0" with what it made.
void say(int socket, const StepResult& result, const UniqueFd& made) {
    auto text = std::string("0");
    if (result)
        text = std::to_string(result->error) + " " + result->step + " \"" + result->subject + "\"";
    std::vector<int> fds;
    if (!result && made) fds.push_back(made.get());
    (void)send_packet(socket, text, fds);
}

/// Runs `work(UniqueFd&)` in a child; what it made comes back with its word.
template <class Work>
Packet in_child(Work work) {
    Packet answer;
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return answer;
    UniqueFd ours(pair[0]);
    UniqueFd theirs(pair[1]);
    const auto child = ::fork();
    if (child == 0) {
        ::alarm(kHelperSeconds);
        UniqueFd made;
        const auto result = work(made);
        say(theirs.get(), result, made);
        ::_exit(0);
    }
    theirs.reset();
    if (child < 0) return answer;
    (void)receive_packet(ours.get(), answer);
    (void)::waitpid(child, nullptr, 0);
    return answer;
}

bool failed(const Packet& answer, wire::Mounted& out) {
    if (answer.bytes == "0") return false;
    const auto space = answer.bytes.find(' ');
    out.error = std::atoi(answer.bytes.c_str());
    out.step = space == std::string::npos ? "run a helper" : answer.bytes.substr(space + 1);
    return true;
}

}  // namespace

wire::Mounted bind_into(const wire::Mount& request, const UniqueFd& source, pid_t init) {
    wire::Mounted out;
    out.request = request.request;
    struct stat info{};
    if (::fstat(source.get(), &info) < 0) {
        out.step = "look at the source";
        out.error = errno;
        return out;
    }
    const bool folder = S_ISDIR(info.st_mode);
    const auto cloned =
        in_child([&](UniqueFd& made) { return clone_mount(source.get(), request.writable, made); });
    if (failed(cloned, out)) return out;
    if (cloned.fds.empty()) {
        out.step = "clone the mount";
        return out;
    }
    const auto attached = in_child([&](UniqueFd&) {
        return attach(cloned.fds.front().get(), request.target, folder, init);
    });
    (void)failed(attached, out);
    return out;
}

}  // namespace volary::cage
