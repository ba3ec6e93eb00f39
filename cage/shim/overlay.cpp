// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/overlay.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace volary::cage {
namespace {

std::string self_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

StepResult open_part(int layer, const char* name, UniqueFd& out) {
    out.reset(::openat(layer, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!out) return step_error("open layer", name);
    return {};
}

StepResult mount_one(const wire::Overlay& overlay, std::vector<UniqueFd>& fds) {
    UniqueFd lower;
    UniqueFd layer;
    UniqueFd upper;
    UniqueFd work;
    UniqueFd merged;
    if (auto failed = open_again(fds[overlay.lower].get(), lower)) return failed;
    if (auto failed = open_again(fds[overlay.layer].get(), layer)) return failed;
    if (auto failed = open_part(layer.get(), "upper", upper)) return failed;
    if (auto failed = open_part(layer.get(), "work", work)) return failed;
    if (auto failed = open_part(layer.get(), "merged", merged)) return failed;
    // Paths of descriptors: a name may hold the commas and colons that separate options. Attributes
    // of overlayfs go into user.*, the only ones that a user namespace may write.
    const auto options = "lowerdir=" + self_path(lower.get()) +
                         ",upperdir=" + self_path(upper.get()) +
                         ",workdir=" + self_path(work.get()) + ",userxattr";
    constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV;
    if (::mount("volary", self_path(merged.get()).c_str(), "overlay", kFlags, options.c_str()) < 0)
        return step_error("mount overlay", overlay.rule);
    // The folder once more: what was opened before is below the mount.
    return open_part(layer.get(), "merged", fds[overlay.lower]);
}

}  // namespace

StepResult open_again(int fd, UniqueFd& out) {
    char path[PATH_MAX];
    const auto size = ::readlink(self_path(fd).c_str(), path, sizeof path - 1);
    if (size < 0) return step_error("read the path of a source");
    path[size] = '\0';
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    out.reset(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how)));
    if (!out) return step_error("open again", path);
    struct stat before{};
    struct stat after{};
    if (::fstat(fd, &before) < 0 || ::fstat(out.get(), &after) < 0) return step_error("stat", path);
    if (before.st_dev != after.st_dev || before.st_ino != after.st_ino)
        return StepError{"open again", std::string(path) + " was swapped meanwhile", 0};
    return {};
}

StepResult mount_overlays(const std::vector<wire::Overlay>& overlays, std::vector<UniqueFd>& fds) {
    if (overlays.empty()) return {};
    if (::unshare(CLONE_NEWNS) < 0) return step_error("unshare", "mounts of cow rules");
    for (const auto& overlay : overlays) {
        if (overlay.lower >= fds.size() || overlay.layer >= fds.size())
            return StepError{"read launch", "no such layer", 0};
        if (auto failed = mount_one(overlay, fds)) return failed;
    }
    return {};
}

}  // namespace volary::cage
