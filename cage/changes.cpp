// SPDX-License-Identifier: Apache-2.0
#include "cage/changes.hpp"

#include "base/error.hpp"
#include "base/protected.hpp"
#include "base/text_diff.hpp"
#include "cage/layer_tree.hpp"
#include "cage/mounts.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <memory>
#include <optional>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <fmt/format.h>

namespace volary::cage {
namespace {

/// Deeper folders are told as one entry that cannot be kept.
constexpr int kMaxDepth = 200;
/// Files beyond this are taken to differ when their sizes are equal.
constexpr off_t kMaxCompared = off_t{4} << 20U;
/// What decides whether a file is text, as git does it.
constexpr std::size_t kLooked = 8000;

std::optional<struct stat> look(int folder, const std::string& name) {
    struct stat info{};
    if (folder < 0 || ::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0)
        return std::nullopt;
    return info;
}

bool is_whiteout(const struct stat& info) {
    return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
}

Change::Type type_of(const struct stat& info) {
    if (S_ISREG(info.st_mode)) return Change::Type::file;
    if (S_ISDIR(info.st_mode)) return Change::Type::folder;
    return S_ISLNK(info.st_mode) ? Change::Type::link : Change::Type::other;
}

std::string read_start(int folder, const std::string& name, std::size_t most) {
    const auto file = open_inside(folder, name, O_RDONLY);
    std::string out(most, '\0');
    std::size_t size = 0;
    while (file && size < most) {
        const auto got = ::read(file.get(), out.data() + size, most - size);
        if (got <= 0) break;
        size += static_cast<std::size_t>(got);
    }
    out.resize(size);
    return out;
}

std::string link_text(int folder, const std::string& name) {
    std::array<char, PATH_MAX> text{};
    const auto size = ::readlinkat(folder, name.c_str(), text.data(), text.size());
    return {text.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

bool looks_binary(std::string_view text) { return text.substr(0, kLooked).find('\0') != text.npos; }

class Scan {
public:
    Scan(const LayerTree& tree, std::vector<Change>& out) : tree_(tree), out_(out) {}

    void folder(int upper, int lower, const std::string& at, int depth) {
        const auto names = sorted_names(upper);
        const bool hides = lower >= 0 && is_opaque(upper);
        for (const auto& name : names) {
            if (out_.size() >= kMaxChanges) return;
            const auto info = look(upper, name);
            if (info) entry(upper, lower, name, at + name, *info, depth);
        }
        if (!hides) return;
        for (const auto& name : sorted_names(lower))
            if (!std::binary_search(names.begin(), names.end(), name)) gone(lower, name, at + name);
    }

private:
    void entry(
        int upper, int lower, const std::string& name, const std::string& path,
        const struct stat& info, int depth
    ) {
        const auto before = look(lower, name);
        if (is_whiteout(info)) {
            if (before) gone(lower, name, path);
            return;
        }
        if (S_ISDIR(info.st_mode)) return subfolder(upper, lower, name, path, depth);
        const bool same_type = before && type_of(*before) == type_of(info);
        if (before && S_ISDIR(before->st_mode)) gone(lower, name, path);
        if (same_type && same(upper, lower, name, info, *before)) return;
        const bool new_one = !before || S_ISDIR(before->st_mode);
        auto& change = add(path, new_one ? Change::Kind::added : Change::Kind::changed, info);
        if (change.type == Change::Type::file)
            change.binary = looks_binary(read_start(upper, name, kLooked));
        if (change.type == Change::Type::other) change.refused = "neither a file, folder nor link";
    }

    void subfolder(
        int upper, int lower, const std::string& name, const std::string& path, int depth
    ) {
        const auto before = look(lower, name);
        const bool there = before && S_ISDIR(before->st_mode);
        if (before && !there) gone(lower, name, path);
        const auto info = look(upper, name);
        const auto inside = open_inside(upper, name, O_PATH | O_DIRECTORY);
        if (depth >= kMaxDepth) {
            add(path, Change::Kind::added, *info).refused = "too deep";
            return;
        }
        if (!inside) return;
        const auto below = there ? open_inside(lower, name, O_PATH | O_DIRECTORY) : UniqueFd();
        const auto count = out_.size();
        folder(inside.get(), below.get(), path + "/", depth + 1);
        if (!there && out_.size() == count) add(path, Change::Kind::added, *info);
    }

    bool same(
        int upper, int lower, const std::string& name, const struct stat& now,
        const struct stat& before
    ) const {
        if (S_ISLNK(now.st_mode)) return link_text(upper, name) == link_text(lower, name);
        if (!S_ISREG(now.st_mode) || now.st_size != before.st_size) return false;
        if ((now.st_mode & 0777U) != (before.st_mode & 0777U)) return false;
        if (now.st_size > kMaxCompared) return false;
        const auto most = static_cast<std::size_t>(kMaxCompared);
        return read_start(upper, name, most) == read_start(lower, name, most);
    }

    void gone(int lower, const std::string& name, const std::string& path) {
        const auto info = look(lower, name);
        if (!info || out_.size() >= kMaxChanges) return;
        auto& change = add(path, Change::Kind::deleted, *info);
        change.bytes = 0;
    }

    Change& add(const std::string& path, Change::Kind kind, const struct stat& info) {
        Change change;
        change.path = tree_.path_of(path);
        change.kind = kind;
        change.type = type_of(info);
        change.bytes = S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0;
        change.refused = tree_.refusal(path, kind == Change::Kind::deleted);
        out_.push_back(std::move(change));
        return out_.back();
    }

    const LayerTree& tree_;
    std::vector<Change>& out_;
};

/// The layer of a change, and the change's path in it.
std::pair<LayerTree, std::string> find_tree(const Change& change) {
    for (auto& layer : layers_in(change.layers_folder)) {
        const auto target = layer.place.target;
        if (!is_beneath(change.path, target) || change.path == target) continue;
        auto tree = LayerTree::open(std::move(layer));
        auto relative = change.path.substr(target.size() + 1);
        // A layer below another one holds what is in it.
        if (look(tree.upper.get(), relative) || change.kind == Change::Kind::deleted)
            return {std::move(tree), std::move(relative)};
    }
    throw Error(Errc::not_found, fmt::format("no change of \"{}\"", change.path));
}

}  // namespace

namespace {

/// Empty when it is gone, or when an agent that writes beside it has put a link in its place.
UniqueFd open_lower(const LayerPlace& place) {
    constexpr int kFolder = O_PATH | O_DIRECTORY;
    if (place.root.empty())
        return UniqueFd(::open(place.source.c_str(), kFolder | O_NOFOLLOW | O_CLOEXEC));
    const UniqueFd root(::open(place.root.c_str(), kFolder | O_CLOEXEC));
    if (!root || !is_beneath(place.source, place.root)) return {};
    const auto below = std::min(place.source.size(), place.root.size() + 1);
    return open_inside(root.get(), std::string_view(place.source).substr(below), kFolder);
}

}  // namespace

LayerTree LayerTree::open(Layer layer) {
    LayerTree out;
    out.upper.reset(
        ::open((layer.folder + "/upper").c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    );
    if (!out.upper) throw_errno("open layer", layer.folder);
    out.lower = open_lower(layer.place);
    out.layer = std::move(layer);
    return out;
}

std::string LayerTree::path_of(std::string_view relative) const {
    return fmt::format("{}/{}", layer.place.target, relative);
}

std::string LayerTree::refusal(std::string_view relative, bool removes) const {
    const auto& place = layer.place;
    auto from_root = std::string(relative);
    if (!place.root.empty() && place.source.size() > place.root.size())
        from_root = fmt::format("{}/{}", place.source.substr(place.root.size() + 1), relative);
    for (const auto& path : {std::string(relative), from_root}) {
        if (is_protected(path)) return "protected";
        if (removes && holds_protected(path)) return "holds a protected path";
    }
    return {};
}

UniqueFd open_inside(int root, std::string_view relative, int flags) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
    if ((flags & O_PATH) == 0) how.flags |= O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const std::string path(relative.empty() ? "." : relative);
    return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

std::vector<std::string> sorted_names(int folder) {
    auto fd = open_inside(folder, ".", O_RDONLY | O_DIRECTORY);
    if (!fd && errno == EACCES) {
        const auto self = fmt::format("/proc/self/fd/{}", folder);
        if (::chmod(self.c_str(), 0700) == 0) fd = open_inside(folder, ".", O_RDONLY | O_DIRECTORY);
    }
    std::vector<std::string> out;
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(
        fd ? ::fdopendir(fd.get()) : nullptr, &::closedir
    );
    if (listing) (void)fd.release();
    while (const auto* entry = listing ? ::readdir(listing.get()) : nullptr) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") out.emplace_back(name);
    }
    std::sort(out.begin(), out.end());
    return out;
}

bool is_opaque(int folder) {
    char value = 0;
    const auto self = fmt::format("/proc/self/fd/{}", folder);
    return ::getxattr(self.c_str(), "user.overlay.opaque", &value, 1) == 1 && value == 'y';
}

void add_changes(const LayerTree& tree, std::vector<Change>& out) {
    Scan(tree, out).folder(tree.upper.get(), tree.lower.get(), "", 0);
}

std::string_view to_string(Change::Kind kind) noexcept {
    switch (kind) {
        case Change::Kind::added:
            return "added";
        case Change::Kind::changed:
            return "changed";
        case Change::Kind::deleted:
            return "deleted";
    }
    return "changed";
}

std::vector<Change> list_changes(const std::string& layers_folder) {
    std::vector<Change> out;
    for (auto& layer : layers_in(layers_folder))
        add_changes(LayerTree::open(std::move(layer)), out);
    for (auto& change : out) change.layers_folder = layers_folder;
    // Where a file takes the place of a folder, the folder goes first.
    std::sort(out.begin(), out.end(), [](const Change& a, const Change& b) {
        const bool removes = a.kind == Change::Kind::deleted && b.kind != Change::Kind::deleted;
        return a.path != b.path ? a.path < b.path : removes;
    });
    return out;
}

std::string diff_of(const Change& change) {
    const auto [tree, path] = find_tree(change);
    if (change.type == Change::Type::folder)
        return fmt::format("folder {} {}\n", change.path, to_string(change.kind));
    if (change.type == Change::Type::link && change.kind != Change::Kind::deleted)
        return fmt::format(
            "link {} {}: to {}\n", change.path, to_string(change.kind),
            link_text(tree.upper.get(), path)
        );
    if (change.type != Change::Type::file)
        return fmt::format("{} {}\n", change.path, to_string(change.kind));
    const bool had = change.kind != Change::Kind::added;
    const bool has = change.kind != Change::Kind::deleted;
    const auto old_text = had ? read_start(tree.lower.get(), path, kMaxDiffed + 1) : std::string();
    const auto new_text = has ? read_start(tree.upper.get(), path, kMaxDiffed + 1) : std::string();
    if (old_text.size() > kMaxDiffed || new_text.size() > kMaxDiffed)
        return fmt::format("{} {}: too large to compare\n", change.path, to_string(change.kind));
    if (looks_binary(old_text) || looks_binary(new_text))
        return fmt::format("binary file {} {}\n", change.path, to_string(change.kind));
    auto text = unified_diff(
        old_text, new_text, had ? change.path : "/dev/null", has ? change.path : "/dev/null"
    );
    if (text.empty()) return fmt::format("{}: only its mode changed\n", change.path);
    if (text.size() <= kMaxDiff) return text;
    text.resize(text.rfind('\n', kMaxDiff) + 1);
    return text + "... cut off\n";
}

}  // namespace volary::cage
