// SPDX-License-Identifier: Apache-2.0
#include "cage/native/root.hpp"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace volary::cage {
namespace {

using wire::RootStep;

constexpr std::uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
/// The root holds folders and files of a few hundred bytes and becomes read-only.
constexpr const char* kRootSize = "1m";

// glibc 2.36 has some of these; clang's static link wants none of them twice.
int open_tree_of(int folder, const char* path, unsigned flags) {
    return static_cast<int>(::syscall(SYS_open_tree, folder, path, flags));
}

bool set_attributes(int tree, std::uint64_t set, bool recursive) {
    mount_attr attributes{};
    attributes.attr_set = set;
    const unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U);
    return ::syscall(SYS_mount_setattr, tree, "", flags, &attributes, sizeof attributes) == 0;
}

bool attach(int tree, int place) {
    constexpr unsigned kFlags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    return ::syscall(SYS_move_mount, tree, "", place, "", kFlags) == 0;
}

/// A file system that is being configured (fsopen).
class NewMount {
public:
    explicit NewMount(const char* type)
        : context_(static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC))) {}

    bool set(const char* key, const char* value) {
        return context_ &&
               ::syscall(SYS_fsconfig, context_.get(), FSCONFIG_SET_STRING, key, value, 0) == 0;
    }
    bool set(const char* key, std::uint64_t value, const char* format) {
        char text[32];
        std::snprintf(text, sizeof text, format, static_cast<unsigned long long>(value));
        return set(key, text);
    }
    /// Empty with errno set on failure.
    UniqueFd make(std::uint64_t attributes) {
        if (!context_) return {};
        if (::syscall(SYS_fsconfig, context_.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
            return {};
        return UniqueFd(
            static_cast<int>(::syscall(SYS_fsmount, context_.get(), FSMOUNT_CLOEXEC, attributes))
        );
    }

private:
    UniqueFd context_;
};

UniqueFd open_in(int folder, const char* path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return UniqueFd(static_cast<int>(::syscall(SYS_openat2, folder, path, &how, sizeof how)));
}

class Root {
public:
    Root(const wire::Launch& launch, const Prepared& prepared)
        : launch_(launch), prepared_(prepared) {}

    /// On top of the host's root. This process's own root stays the host's, so sources are still
    /// found by their paths.
    StepResult build() {
        const UniqueFd host(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (auto failed = build_at(host.get())) return failed;
        return enter();
    }

    StepResult build_at(int place) {
        const auto old = ::umask(0);
        if (auto failed = begin(place)) return failed;
        for (const auto& step : launch_.native->steps)
            if (auto failed = make(step)) return failed;
        ::umask(old);
        return {};
    }

private:
    /// An empty tmpfs.
    StepResult begin(int place) {
        NewMount root("tmpfs");
        if (!root.set("mode", "0755") || !root.set("size", kRootSize))
            return step_error("configure tmpfs", "/");
        root_ = root.make(kSafe);
        if (!root_) return step_error("make tmpfs", "/");
        if (!attach(root_.get(), place)) return step_error("mount", "/");
        return {};
    }

    StepResult make(const RootStep& step) {
        switch (step.kind) {
            case RootStep::Kind::folder:
                return place(step, true) ? StepResult{} : step_error("make folder", step.target);
            case RootStep::Kind::link:
                return make_link(step);
            case RootStep::Kind::file:
                return make_file(step);
            case RootStep::Kind::bind:
                return bind(step);
            case RootStep::Kind::data:
                return bind_data(step);
            case RootStep::Kind::tmpfs:
                return make_tmpfs(step);
            case RootStep::Kind::proc:
                return make_proc(step);
            case RootStep::Kind::devices:
                return make_devices(step.target);
            case RootStep::Kind::seal:
                return seal(step);
        }
        return StepError{"read launch", "unknown step", 0};
    }

    static const char* relative(const char* target) {
        while (*target == '/') ++target;
        return *target == '\0' ? "." : target;
    }

    /// The folder of `target`, made with those above it when it is missing; `name` is the rest.
    UniqueFd folder_of(const char* target, bool must_exist, const char*& name) {
        const char* path = relative(target);
        const char* slash = std::strrchr(path, '/');
        name = slash == nullptr ? path : slash + 1;
        char above[PATH_MAX] = ".";
        if (slash != nullptr) {
            const auto size = static_cast<std::size_t>(slash - path);
            if (size >= sizeof above) {
                errno = ENAMETOOLONG;
                return {};
            }
            std::memcpy(above, path, size);
            above[size] = '\0';
        }
        return place(above, true, must_exist);
    }

    /// Where to mount; made when it is missing and may be. Empty with errno set.
    UniqueFd place(const char* target, bool folder, bool must_exist) {
        auto found = open_in(root_.get(), relative(target));
        if (found || errno != ENOENT || must_exist) return found;
        const char* name = nullptr;
        const auto above = folder_of(target, must_exist, name);
        if (!above) return {};
        if (folder && ::mkdirat(above.get(), name, 0755) < 0) return {};
        if (!folder) {
            const UniqueFd made(
                ::openat(above.get(), name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444)
            );
            if (!made) return {};
        }
        return open_in(above.get(), name);
    }
    UniqueFd place(const RootStep& step, bool folder) {
        return place(step.target.c_str(), folder, step.must_exist);
    }

    StepResult make_link(const RootStep& step) { return link(step.text.c_str(), step.target); }
    StepResult link(const char* text, const std::string& target) {
        const char* name = nullptr;
        const auto above = folder_of(target.c_str(), false, name);
        if (!above || ::symlinkat(text, above.get(), name) < 0) return step_error("link", target);
        return {};
    }

    StepResult write_file(const RootStep& step, const std::string& target) {
        if (step.index >= launch_.data.size()) return StepError{"read launch", "no such data", 0};
        const auto& text = launch_.data[step.index];
        const char* name = nullptr;
        const auto above = folder_of(target.c_str(), step.must_exist, name);
        if (!above) return step_error("open", target);
        constexpr int kFlags = O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW;
        const UniqueFd file(::openat(above.get(), name, kFlags, step.mode));
        if (!file) return step_error("make file", target);
        if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
            return step_error("write", target);
        return {};
    }
    StepResult make_file(const RootStep& step) { return write_file(step, step.target); }

    StepResult attach_at(const RootStep& step, const UniqueFd& tree, bool folder) {
        const auto where = place(step, folder);
        if (!where) return step_error("open destination", step.target);
        if (!attach(tree.get(), where.get())) return step_error("mount", step.target);
        return {};
    }

    StepResult bind(const RootStep& step) {
        if (step.index >= prepared_.fds.size())
            return StepError{"read launch", "no such source", 0};
        const int source = prepared_.fds[step.index].get();
        char link[32];
        char path[PATH_MAX];
        std::snprintf(link, sizeof link, "/proc/self/fd/%d", source);
        const auto size = ::readlink(link, path, sizeof path - 1);
        if (size <= 0) return step_error("find source", step.target);
        path[size] = '\0';
        const UniqueFd tree(open_tree_of(
            AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW
        ));
        if (!tree) return step_error("clone mount", path);
        struct stat opened{};
        struct stat cloned{};
        if (::fstat(source, &opened) < 0 || ::fstat(tree.get(), &cloned) < 0)
            return step_error("look at source", path);
        if (opened.st_dev != cloned.st_dev || opened.st_ino != cloned.st_ino)
            return StepError{"verify source", std::string(path) + " was replaced meanwhile", 0};
        std::uint64_t set = MOUNT_ATTR_NOSUID;
        if (!step.device) set |= MOUNT_ATTR_NODEV;
        if (!step.writable && !step.device) set |= MOUNT_ATTR_RDONLY;
        if (!set_attributes(tree.get(), set, true)) return step_error("restrict mount", path);
        return attach_at(step, tree, S_ISDIR(opened.st_mode));
    }

    /// The file lives in the root under a name that is gone before anybody could look.
    StepResult bind_data(const RootStep& step) {
        const std::string hidden = "/.volary-data";
        auto file = step;
        file.must_exist = false;
        if (auto failed = write_file(file, hidden)) return failed;
        const UniqueFd tree(
            open_tree_of(root_.get(), relative(hidden.c_str()), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
        );
        if (!tree) return step_error("clone mount", step.target);
        if (!set_attributes(tree.get(), kSafe | MOUNT_ATTR_RDONLY, false))
            return step_error("restrict mount", step.target);
        if (auto failed = attach_at(step, tree, false)) return failed;
        if (::unlinkat(root_.get(), relative(hidden.c_str()), 0) < 0)
            return step_error("unlink", hidden);
        return {};
    }

    StepResult make_tmpfs(const RootStep& step) {
        NewMount made("tmpfs");
        bool good = made.set("mode", step.mode, "%llo");
        if (step.size != 0) good = good && made.set("size", step.size, "%llu");
        if (step.inodes != 0) good = good && made.set("nr_inodes", step.inodes, "%llu");
        if (!good) return step_error("configure tmpfs", step.target);
        const auto tree = made.make(kSafe);
        if (!tree) return step_error("make tmpfs", step.target);
        return attach_at(step, tree, true);
    }

    StepResult make_proc(const RootStep& step) {
        const auto tree = NewMount("proc").make(kSafe | MOUNT_ATTR_NOEXEC);
        if (!tree) return step_error("make proc", step.target);
        return attach_at(step, tree, true);
    }

    StepResult seal(const RootStep& step) {
        const auto where = open_in(root_.get(), relative(step.target.c_str()));
        if (!where || !set_attributes(where.get(), MOUNT_ATTR_RDONLY, false))
            return step_error("make read-only", step.target);
        return {};
    }

    StepResult make_devices(const std::string& folder) {
        for (const char* name : {"null", "zero", "full", "random", "urandom", "tty"})
            if (auto failed = bind_device(std::string("/dev/") + name, folder + "/" + name))
                return failed;
        constexpr const char* kLinks[][2] = {
            {"stdin", "/proc/self/fd/0"},  {"stdout", "/proc/self/fd/1"},
            {"stderr", "/proc/self/fd/2"}, {"fd", "/proc/self/fd"},
            {"ptmx", "pts/ptmx"},
        };
        for (const auto& [name, text] : kLinks)
            if (auto failed = link(text, folder + "/" + name)) return failed;
        NewMount terminals("devpts");
        if (!terminals.set("ptmxmode", "0666") || !terminals.set("mode", "620"))
            return step_error("configure devpts", folder);
        const auto tree = terminals.make(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
        if (!tree) return step_error("make devpts", folder);
        const auto where = place((folder + "/pts").c_str(), true, false);
        if (!where || !attach(tree.get(), where.get())) return step_error("mount", folder);
        return terminal(folder + "/console");
    }

    StepResult bind_device(const std::string& source, const std::string& target) {
        const UniqueFd tree(
            open_tree_of(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
        );
        if (!tree) return step_error("clone mount", source);
        if (!set_attributes(tree.get(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, false))
            return step_error("restrict mount", source);
        const auto where = place(target.c_str(), false, false);
        if (!where || !attach(tree.get(), where.get())) return step_error("mount", target);
        return {};
    }

    /// A terminal that is passed through needs a name in /dev, or tty(1) and its like fail.
    StepResult terminal(const std::string& target) {
        const int out = prepared_.fds[launch_.stdio[1]].get();
        if (!launch_.keep_session || ::isatty(out) != 1) return {};
        char path[PATH_MAX];
        if (::ttyname_r(out, path, sizeof path) != 0) return {};
        return bind_device(path, target);
    }

    StepResult enter() {
        if (::fchdir(root_.get()) < 0) return step_error("enter", "/");
        // The old root lands on top of the new one and goes at once (pivot_root(2)).
        if (::syscall(SYS_pivot_root, ".", ".") < 0) return step_error("pivot_root");
        if (::umount2(".", MNT_DETACH) < 0) return step_error("unmount", "the host's root");
        const auto& folder = launch_.native->folder;
        if (::chdir(folder.c_str()) < 0) return step_error("enter working directory", folder);
        return {};
    }

    const wire::Launch& launch_;
    const Prepared& prepared_;
    UniqueFd root_;
};

}  // namespace

StepResult build_root(const wire::Launch& launch, const Prepared& prepared) {
    return Root(launch, prepared).build();
}

StepResult build_tree(const wire::Launch& launch, const Prepared& prepared, int place) {
    return Root(launch, prepared).build_at(place);
}

}  // namespace volary::cage
