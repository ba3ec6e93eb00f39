// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "cage/changes.hpp"
#include "cage/layer_tree.hpp"
#include "cage/mounts.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <fmt/format.h>

namespace volary::cage {
namespace {

/// Depth to which opaque folders are looked for; what is deeper cannot be kept.
constexpr int kMaxDepth = 200;
/// Paths that a refusal names.
constexpr std::size_t kMaxNamed = 20;

[[noreturn]] void refuse(const char* doing) {
    throw Error(Errc::io, fmt::format("{}: {}", doing, ::strerror(errno)));
}

std::string temporary_name() {
    std::uint64_t number = 0;
    if (::getrandom(&number, sizeof number, 0) != sizeof number) refuse("getrandom");
    return fmt::format(".volary-keep-{:016x}", number);
}

std::pair<std::string, std::string> split_path(const std::string& relative) {
    const auto slash = relative.rfind('/');
    if (slash == std::string::npos) return {"", relative};
    return {relative.substr(0, slash), relative.substr(slash + 1)};
}

/// The file's blocks; holes stay holes, so that a file of a terabyte without content stays one.
void copy_content(int from, int to, off_t size) {
    std::array<char, std::size_t{128} * 1024> part{};
    for (off_t at = 0; at < size;) {
        const auto data = ::lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) break;
        const auto start = data < 0 ? at : data;
        auto end = ::lseek(from, start, SEEK_HOLE);
        if (end < 0) end = size;
        for (at = start; at < end;) {
            const auto most = std::min<off_t>(end - at, static_cast<off_t>(part.size()));
            const auto got = ::pread(from, part.data(), static_cast<std::size_t>(most), at);
            if (got < 0) refuse("read");
            if (got == 0) return;
            if (::pwrite(to, part.data(), static_cast<std::size_t>(got), at) != got)
                refuse("write");
            at += got;
        }
    }
    if (::ftruncate(to, size) < 0) refuse("truncate");
}

class Applier {
public:
    explicit Applier(const LayerTree& tree) : tree_(tree) {}
    Applier(const Applier&) = delete;
    Applier& operator=(const Applier&) = delete;
    /// What is left in the layer gets its permissions back, the innermost first.
    ~Applier() {
        for (; !unlocked_.empty(); unlocked_.pop_back()) {
            const auto& [path, mode] = unlocked_.back();
            const auto place = open_inside(tree_.upper.get(), path, O_PATH | O_DIRECTORY);
            const auto self = fmt::format("/proc/self/fd/{}", place.get());
            if (place) (void)::chmod(self.c_str(), mode);
        }
    }

    void keep(const Change& change, const std::string& relative) {
        if (!change.refused.empty()) throw Error(Errc::denied, change.refused);
        if (!tree_.lower) throw Error(Errc::not_found, "its folder is gone, or is a link now");
        if (change.kind == Change::Kind::deleted) {
            const auto [folder, name] = split_path(relative);
            const auto parent = open_inside(tree_.lower.get(), folder, O_PATH | O_DIRECTORY);
            if (!parent) refuse("open its folder");
            remove_tree_at(parent.get(), name);
            // Something else may have taken its place in the layer.
            if (!is_whiteout(relative)) return;
        } else {
            put(relative);
        }
        forget(relative);
    }

    /// Takes it out of the layer, and the folders that hold nothing any more with it.
    void forget(const std::string& relative) {
        auto [folder, name] = split_path(relative);
        auto parent = open_inside(tree_.upper.get(), folder, O_PATH | O_DIRECTORY);
        if (!parent) return;
        const bool removed = ::unlinkat(parent.get(), name.c_str(), 0) == 0 ||
                             ::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) == 0;
        while (removed && !folder.empty()) {
            std::tie(folder, name) = split_path(folder);
            parent = open_inside(tree_.upper.get(), folder, O_PATH | O_DIRECTORY);
            if (!parent || ::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) < 0) break;
        }
    }

    /// Folders that hide what the host has get one whiteout for each thing instead, so that each
    /// can be kept or dropped by itself.
    ///
    /// Every folder of the layer can be walked and emptied from here on, until this object ends.
    void settle(int upper, int lower, const std::string& at, int depth) {
        unlock(upper, at);
        const auto names = sorted_names(upper).value_or(std::vector<std::string>());
        const bool hides = lower >= 0 && is_opaque(upper);
        const auto hidden = hides ? sorted_names(lower) : std::nullopt;
        if (hidden) {
            for (const auto& name : *hidden)
                if (!std::binary_search(names.begin(), names.end(), name))
                    (void)::mknodat(upper, name.c_str(), S_IFCHR, makedev(0, 0));
            const auto self = fmt::format("/proc/self/fd/{}", upper);
            (void)::removexattr(self.c_str(), "user.overlay.opaque");
        }
        if (depth >= kMaxDepth) return;
        for (const auto& name : names) {
            const auto inside = open_inside(upper, name, O_PATH | O_DIRECTORY);
            if (!inside) continue;
            const auto below =
                lower >= 0 ? open_inside(lower, name, O_PATH | O_DIRECTORY) : UniqueFd();
            const auto deeper = at.empty() ? name : at + "/" + name;
            settle(inside.get(), below.get(), deeper, depth + 1);
        }
    }

private:
    void unlock(int folder, const std::string& at) {
        struct stat info{};
        if (::fstat(folder, &info) < 0 || (info.st_mode & 0700U) == 0700U) return;
        const auto self = fmt::format("/proc/self/fd/{}", folder);
        const auto before = info.st_mode & 07777U;
        if (::chmod(self.c_str(), before | 0700U) == 0) unlocked_.emplace_back(at, before);
    }

    bool is_whiteout(const std::string& relative) const {
        struct stat info{};
        const auto place = open_inside(tree_.upper.get(), relative, O_PATH);
        return place && ::fstat(place.get(), &info) == 0 && S_ISCHR(info.st_mode);
    }

    /// The folder of the host, made as far as it is missing.
    UniqueFd ensure_folder(const std::string& relative) const {
        auto found = open_inside(tree_.lower.get(), relative, O_PATH | O_DIRECTORY);
        if (found || relative.empty()) return found;
        const auto [folder, name] = split_path(relative);
        const auto parent = ensure_folder(folder);
        if (!parent) return {};
        if (::mkdirat(parent.get(), name.c_str(), 0755) < 0 && errno != EEXIST) return {};
        return open_inside(parent.get(), name, O_PATH | O_DIRECTORY);
    }

    void put(const std::string& relative) const {
        const auto [folder, name] = split_path(relative);
        const auto parent = ensure_folder(folder);
        if (!parent) refuse("make its folder");
        const auto place = open_inside(tree_.upper.get(), relative, O_PATH);
        struct stat info{};
        if (!place || ::fstat(place.get(), &info) < 0) refuse("open it in the layer");
        if (S_ISDIR(info.st_mode)) {
            if (::mkdirat(parent.get(), name.c_str(), (info.st_mode & 0777U) | 0700U) < 0)
                refuse("make folder");
            return;
        }
        const auto temporary = temporary_name();
        if (S_ISLNK(info.st_mode))
            put_link(place.get(), parent.get(), temporary);
        else
            put_file(place.get(), info, parent.get(), temporary);
        if (::renameat(parent.get(), temporary.c_str(), parent.get(), name.c_str()) == 0) return;
        const int error = errno;
        (void)::unlinkat(parent.get(), temporary.c_str(), 0);
        errno = error;
        refuse("rename");
    }

    static void put_link(int place, int parent, const std::string& temporary) {
        std::array<char, PATH_MAX> target{};
        if (::readlinkat(place, "", target.data(), target.size() - 1) <= 0) refuse("read the link");
        if (::symlinkat(target.data(), parent, temporary.c_str()) < 0) refuse("make the link");
    }

    static void put_file(
        int place, const struct stat& info, int parent, const std::string& temporary
    ) {
        const auto self = fmt::format("/proc/self/fd/{}", place);
        const Unlocked readable(place, 0400);
        const UniqueFd from(::open(self.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (!from) refuse("open it in the layer");
        constexpr int kHow = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        const UniqueFd to(::openat(parent, temporary.c_str(), kHow, 0600));
        if (!to) refuse("make a file");
        try {
            copy_content(from.get(), to.get(), info.st_size);
            // Only the permission bits: no program becomes setuid by being kept.
            if (::fchmod(to.get(), info.st_mode & 0777U) < 0) refuse("set its mode");
        } catch (const Error&) {
            (void)::unlinkat(parent, temporary.c_str(), 0);
            throw;
        }
    }

    const LayerTree& tree_;
    /// Paths of folders that had not all permissions of their owner, and what they had. Paths, for
    /// an agent can make more of them than a process may have descriptors.
    std::vector<std::pair<std::string, mode_t>> unlocked_;
};

bool is_wanted(const std::string& path, const std::vector<std::string>& paths) {
    if (paths.empty()) return true;
    return std::any_of(paths.begin(), paths.end(), [&](const std::string& each) {
        return is_beneath(path, each);
    });
}

/// Does `act` with each change of the layer that `wanted` says yes to.
template <class Wanted, class Act>
void each_change(const LayerTree& tree, Applied& done, const Wanted& wanted, const Act& act) {
    Applier applier(tree);
    applier.settle(tree.upper.get(), tree.lower.get(), "", 0);
    std::vector<Change> changes;
    add_changes(tree, changes);
    for (const auto& change : changes) {
        if (!wanted(change)) continue;
        const auto relative = change.path.substr(tree.layer.place.target.size() + 1);
        try {
            act(applier, change, relative);
            ++done.count;
        } catch (const Error& error) {
            done.refused.push_back(fmt::format("{}: {}", change.path, error.what()));
        }
    }
}

void drop_all(const LayerTree& tree, Applied& done) {
    // Also what was written without being changed, and what a list has no room for.
    std::vector<Change> changes;
    add_changes(tree, changes);
    done.count += changes.size();
    const Unlocked writable(tree.upper.get(), 0700);
    for (const auto& name : sorted_names(tree.upper.get()).value_or(std::vector<std::string>()))
        remove_tree_at(tree.upper.get(), name);
}

/// Throws when one of `seen` is not among the changes of `folders` any more. A digest says the
/// path, too, and says it byte by byte, which JSON cannot of every name.
void check_seen(const std::vector<std::string>& folders, const std::vector<Seen>& seen) {
    std::set<std::string> there;
    for (const auto& folder : folders)
        for (auto& change : list_changes(folder)) there.insert(std::move(change.digest));
    std::set<std::string> gone;
    for (const auto& each : seen)
        if (there.count(each.digest) == 0) gone.insert(each.path);
    if (gone.empty()) return;
    std::vector<std::string> paths(gone.begin(), gone.end());
    const auto more = paths.size() == 1 ? "" : fmt::format(" and {} more", paths.size() - 1);
    Error error(
        Errc::conflict,
        fmt::format(
            "\"{}\"{} changed since you looked: nothing was kept, look again", paths.front(), more
        )
    );
    paths.resize(std::min(paths.size(), kMaxNamed));
    throw error.with_details(std::move(paths));
}

/// All of them, so that no cage changes one while another is looked at.
std::vector<LayersFolder> lock_all(const std::vector<std::string>& folders) {
    std::vector<LayersFolder> out;
    for (const auto& folder : folders)
        if (!layers_in(folder).empty()) out.push_back(LayersFolder::open(folder));
    return out;
}

}  // namespace

Applied keep_changes(const std::vector<std::string>& folders, const std::vector<Seen>& seen) {
    std::set<std::string> wanted;
    for (const auto& each : seen) wanted.insert(each.digest);
    const auto locks = lock_all(folders);
    check_seen(folders, seen);
    const auto is_seen = [&](const Change& change) { return wanted.count(change.digest) > 0; };
    const auto keep = [](Applier& applier, const Change& change, const std::string& relative) {
        applier.keep(change, relative);
    };
    Applied done;
    for (const auto& lock : locks)
        for (auto& layer : layers_in(lock.path()))
            each_change(LayerTree::open(std::move(layer)), done, is_seen, keep);
    return done;
}

Applied drop_changes(
    const std::vector<std::string>& folders, const std::vector<std::string>& paths
) {
    const auto is_meant = [&](const Change& change) { return is_wanted(change.path, paths); };
    const auto drop = [](Applier& applier, const Change&, const std::string& relative) {
        applier.forget(relative);
    };
    Applied done;
    for (const auto& lock : lock_all(folders)) {
        for (auto& layer : layers_in(lock.path())) {
            const auto tree = LayerTree::open(std::move(layer));
            if (paths.empty())
                drop_all(tree, done);
            else
                each_change(tree, done, is_meant, drop);
        }
    }
    return done;
}

}  // namespace volary::cage
