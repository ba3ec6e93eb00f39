// SPDX-License-Identifier: Apache-2.0
#include "cage/changes.hpp"

#include "base/error.hpp"
#include "base/text_diff.hpp"
#include "cage/change_digest.hpp"
#include "cage/layer_tree.hpp"
#include "cage/mounts.hpp"

#include <algorithm>
#include <fcntl.h>
#include <list>
#include <optional>
#include <sys/sysmacros.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// Deeper folders are told as one entry that cannot be kept.
constexpr int kMaxDepth = 200;
/// Files beyond this are taken to differ when their sizes are equal.
constexpr off_t kMaxCompared = off_t{4} << 20U;
/// What decides whether a file is text, as git does it.
constexpr std::size_t kLooked = 8000;

bool is_whiteout(const struct stat& info) {
    return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
}

Change::Type type_of(const struct stat& info) {
    if (S_ISREG(info.st_mode)) return Change::Type::file;
    if (S_ISDIR(info.st_mode)) return Change::Type::folder;
    return S_ISLNK(info.st_mode) ? Change::Type::link : Change::Type::other;
}

bool looks_binary(std::string_view text) { return text.substr(0, kLooked).find('\0') != text.npos; }

class Scan {
public:
    Scan(const LayerTree& tree, std::vector<Change>& out) : tree_(tree), out_(out) {}

    void folder(int upper, int lower, const std::string& at, int depth) {
        const Unlocked readable(upper, 0500);
        const auto names = sorted_names(upper).value_or(std::vector<std::string>());
        const bool hides = lower >= 0 && is_opaque(upper);
        for (const auto& name : names) {
            if (out_.size() >= kMaxChanges) return;
            const auto info = look(upper, name);
            if (info) entry(upper, lower, name, at + name, *info, depth);
        }
        if (!hides) return;
        // What the daemon's user may not read on the host it cannot tell to be hidden.
        for (const auto& name : sorted_names(lower).value_or(std::vector<std::string>()))
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
        change.digest = digest_of(change, upper, lower, name);
        if (change.type == Change::Type::file)
            change.binary =
                looks_binary(read_start(upper, name, kLooked, Whose::layer).value_or(""));
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
        if (!info || !inside) return;
        if (depth >= kMaxDepth) {
            auto& change = add(path, Change::Kind::added, *info);
            change.refused = "too deep";
            change.digest = digest_of(change, upper, lower, name);
            return;
        }
        const auto below = there ? open_inside(lower, name, O_PATH | O_DIRECTORY) : UniqueFd();
        const auto count = out_.size();
        folder(inside.get(), below.get(), path + "/", depth + 1);
        if (there || out_.size() != count || count >= kMaxChanges) return;
        auto& change = add(path, Change::Kind::added, *info);
        change.digest = digest_of(change, upper, lower, name);
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
        const auto content = read_start(upper, name, most, Whose::layer);
        return content && content == read_start(lower, name, most, Whose::host);
    }

    void gone(int lower, const std::string& name, const std::string& path) {
        const auto info = look(lower, name);
        if (!info || out_.size() >= kMaxChanges) return;
        auto& change = add(path, Change::Kind::deleted, *info);
        change.bytes = 0;
        change.digest = digest_of(change, -1, lower, name);
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

/// The folder of a path in an upper layer, and the way to it, readable as long as this lives.
class WayTo {
public:
    WayTo(const LayerTree& tree, std::string_view relative) {
        int folder = tree.upper.get();
        open_.emplace_back(folder, 0500);
        for (auto slash = relative.find('/'); slash != relative.npos; slash = relative.find('/')) {
            held_.push_back(open_inside(folder, relative.substr(0, slash), O_PATH | O_DIRECTORY));
            folder = held_.back().get();
            if (folder < 0) break;
            open_.emplace_back(folder, 0500);
            relative.remove_prefix(slash + 1);
        }
        folder_ = folder;
        name_ = relative;
    }

    int folder() const noexcept { return folder_; }
    const std::string& name() const noexcept { return name_; }

private:
    std::list<UniqueFd> held_;
    std::list<Unlocked> open_;  ///< goes before what it refers to
    int folder_ = -1;           ///< -1: there is none
    std::string name_;
};

/// The layer of a change, and the change's path in it.
std::pair<LayerTree, std::string> find_tree(const Change& change) {
    for (auto& layer : layers_in(change.layers_folder)) {
        const auto target = layer.place.target;
        if (!is_beneath(change.path, target) || change.path == target) continue;
        auto tree = LayerTree::open(std::move(layer));
        auto relative = change.path.substr(target.size() + 1);
        const WayTo way(tree, relative);
        // A layer below another one holds what is in it.
        if (look(way.folder(), way.name()) || change.kind == Change::Kind::deleted)
            return {std::move(tree), std::move(relative)};
    }
    throw Error(Errc::not_found, fmt::format("no change of \"{}\"", change.path));
}

}  // namespace

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
    const WayTo way(tree, path);
    if (change.type == Change::Type::folder)
        return fmt::format("folder {} {}\n", change.path, to_string(change.kind));
    if (change.type == Change::Type::link && change.kind != Change::Kind::deleted)
        return fmt::format(
            "link {} {}: to {}\n", change.path, to_string(change.kind),
            link_text(way.folder(), way.name())
        );
    if (change.type != Change::Type::file)
        return fmt::format("{} {}\n", change.path, to_string(change.kind));
    const bool had = change.kind != Change::Kind::added;
    const bool has = change.kind != Change::Kind::deleted;
    constexpr auto kMost = kMaxDiffed + 1;
    const std::optional<std::string> none("");
    const auto before = had ? read_start(tree.lower.get(), path, kMost, Whose::host) : none;
    const auto after = has ? read_start(way.folder(), way.name(), kMost, Whose::layer) : none;
    if (!before || !after)
        return fmt::format("{} {}: cannot be read\n", change.path, to_string(change.kind));
    const auto& old_text = *before;
    const auto& new_text = *after;
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
