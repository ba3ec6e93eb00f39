// SPDX-License-Identifier: Apache-2.0
#include "cage/layer_tree.hpp"

#include "base/error.hpp"
#include "base/protected.hpp"
#include "cage/mounts.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <memory>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <fmt/format.h>

namespace volary::cage {
namespace {

/// The way to what a descriptor of any kind (O_PATH too) stands for.
std::string by_descriptor(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

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

Unlocked::Unlocked(int place, mode_t bits) noexcept : place_(place) {
    struct stat info{};
    if (::fstat(place, &info) < 0 || (info.st_mode & bits) == bits) return;
    const auto now = info.st_mode & 07777U;
    if (::chmod(by_descriptor(place).c_str(), now | bits) == 0) before_ = now;
}

Unlocked::~Unlocked() {
    if (before_) (void)::chmod(by_descriptor(place_).c_str(), *before_);
}

std::optional<struct stat> look(int folder, const std::string& name) {
    struct stat info{};
    if (folder < 0 || ::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0)
        return std::nullopt;
    return info;
}

UniqueFd open_inside(int root, std::string_view relative, int flags) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
    if ((flags & O_PATH) == 0) how.flags |= O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const std::string path(relative.empty() ? "." : relative);
    return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

UniqueFd open_file(int folder, std::string_view relative, Whose whose) {
    auto file = open_inside(folder, relative, O_RDONLY);
    if (file || errno != EACCES || whose == Whose::host) return file;
    const auto place = open_inside(folder, relative, O_PATH);
    struct stat info{};
    if (!place || ::fstat(place.get(), &info) < 0 || !S_ISREG(info.st_mode)) return {};
    const Unlocked readable(place.get(), 0400);
    return UniqueFd(::open(by_descriptor(place.get()).c_str(), O_RDONLY | O_CLOEXEC));
}

std::optional<std::string> read_start(
    int folder, const std::string& name, std::size_t most, Whose whose
) {
    const auto file = open_file(folder, name, whose);
    if (!file) return std::nullopt;
    std::string out(most, '\0');
    std::size_t size = 0;
    while (size < most) {
        const auto got = ::read(file.get(), out.data() + size, most - size);
        if (got < 0) return std::nullopt;
        if (got == 0) break;
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

std::optional<std::vector<std::string>> sorted_names(int folder) {
    auto fd = open_inside(folder, ".", O_RDONLY | O_DIRECTORY);
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(
        fd ? ::fdopendir(fd.get()) : nullptr, &::closedir
    );
    if (!listing) return std::nullopt;
    (void)fd.release();
    std::vector<std::string> out;
    while (const auto* entry = ::readdir(listing.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") out.emplace_back(name);
    }
    std::sort(out.begin(), out.end());
    return out;
}

bool is_opaque(int folder) {
    char value = 0;
    return ::getxattr(by_descriptor(folder).c_str(), "user.overlay.opaque", &value, 1) == 1 &&
           value == 'y';
}

}  // namespace volary::cage
