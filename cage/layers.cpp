// SPDX-License-Identifier: Apache-2.0
#include "cage/layers.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// A file name has at most 255 bytes (NAME_MAX).
constexpr std::size_t kMaxName = 200;
/// Folders that remove_tree() holds open; what is deeper is moved up first.
constexpr std::size_t kMaxDepth = 100;
constexpr std::size_t kMaxPlace = 3 * 4096;

constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

void make_folder(int parent, const char* name) {
    if (::mkdirat(parent, name, 0700) < 0 && errno != EEXIST) throw_errno("make folder", name);
}

std::string read_place(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    std::string text(kMaxPlace, '\0');
    const auto got = file ? ::read(file.get(), text.data(), text.size()) : -1;
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
}

bool is_empty(const std::string& folder) {
    std::error_code failed;
    return std::filesystem::is_empty(folder, failed) || failed;
}

std::string place_text(const LayerPlace& place) {
    std::string out = place.target;
    out.push_back('\0');
    out += place.source;
    out.push_back('\0');
    out += place.root;
    out.push_back('\0');
    return out;
}

void write_place(int folder, const std::string& text) {
    constexpr int kHow = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
    const UniqueFd file(::openat(folder, "place", kHow, 0600));
    if (!file) throw_errno("open", "place of a layer");
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        throw_errno("write", "place of a layer");
}

/// Removes below an open folder; a stack instead of recursion, for trees of any depth.
class Removal {
public:
    Removal(int top, const char* name, int& moved) : top_(top), moved_(moved) { enter(top, name); }

    void run() {
        while (!open_.empty()) {
            auto& level = open_.back();
            const auto* entry = ::readdir(level.listing.get());
            if (entry != nullptr) {
                take(::dirfd(level.listing.get()), entry->d_name);
                continue;
            }
            const auto name = std::move(level.name);
            open_.pop_back();
            if (open_.empty()) break;
            (void)::unlinkat(::dirfd(open_.back().listing.get()), name.c_str(), AT_REMOVEDIR);
        }
    }

private:
    struct Close {
        void operator()(DIR* listing) const noexcept { ::closedir(listing); }
    };
    struct Level {
        std::unique_ptr<DIR, Close> listing;
        std::string name;
    };

    void enter(int parent, const char* name) {
        int fd = ::openat(parent, name, kFolder);
        if (fd < 0 && errno == EACCES && make_open(parent, name))
            fd = ::openat(parent, name, kFolder);
        if (fd < 0) return;
        struct stat info{};
        // Without write permission nothing in it can be removed.
        if (::fstat(fd, &info) == 0 && (info.st_mode & 0700U) != 0700U) (void)::fchmod(fd, 0700);
        std::unique_ptr<DIR, Close> listing(::fdopendir(fd));
        if (!listing) ::close(fd);
        if (listing) open_.push_back({std::move(listing), name});
    }

    static bool make_open(int parent, const char* name) {
        const UniqueFd place(::openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
        const auto path = fmt::format("/proc/self/fd/{}", place.get());
        return place && ::chmod(path.c_str(), 0700) == 0;
    }

    void take(int parent, const std::string& name) {
        if (name == "." || name == "..") return;
        if (::unlinkat(parent, name.c_str(), 0) == 0 || (errno != EISDIR && errno != EPERM)) return;
        if (open_.size() < kMaxDepth) return enter(parent, name.c_str());
        const auto aside = fmt::format(".volary-deep-{}", moved_);
        if (::renameat(parent, name.c_str(), top_, aside.c_str()) == 0) ++moved_;
    }

    int top_;
    int& moved_;  ///< folders that were moved up, for their names
    std::vector<Level> open_;
};

}  // namespace

std::string layer_name(std::string_view target) {
    std::string out;
    for (const char c : target) {
        if (c == '%') out += "%25";
        if (c == '/') out += "%2f";
        if (c != '%' && c != '/') out += c;
    }
    if (out.size() <= kMaxName) return out;
    // FNV-1a: two long names that begin alike.
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : target) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return fmt::format("{}%{:016x}", out.substr(0, kMaxName), hash);
}

LayersFolder LayersFolder::open(std::string path) {
    const bool temporary = path.empty();
    if (temporary) {
        path = (std::filesystem::temp_directory_path() / "volary-layers-XXXXXX").string();
        if (::mkdtemp(path.data()) == nullptr) throw_errno("make folder", path);
    }
    std::error_code failed;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), failed);
    if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) throw_errno("make folder", path);
    UniqueFd folder(::open(path.c_str(), kFolder));
    if (!folder) throw_errno("open", path);
    if (::flock(folder.get(), LOCK_EX | LOCK_NB) < 0)
        throw Error(Errc::conflict, fmt::format("the layers in \"{}\" are in use", path));
    return {std::move(path), std::move(folder), temporary};
}

LayersFolder::LayersFolder(LayersFolder&& other) noexcept
    : path_(std::move(other.path_)),
      folder_(std::move(other.folder_)),
      temporary_(std::exchange(other.temporary_, false)) {}

LayersFolder::~LayersFolder() {
    if (temporary_) remove_tree(path_);
}

UniqueFd LayersFolder::layer(const LayerPlace& place) const {
    const auto name = layer_name(place.target);
    make_folder(folder_.get(), name.c_str());
    UniqueFd out(::openat(folder_.get(), name.c_str(), kFolder));
    if (!out) throw_errno("open layer", name);
    const auto text = place_text(place);
    const auto known = read_place(fmt::format("{}/{}/place", path_, name));
    const bool stale = !known.empty() && known != text;
    if (stale && !is_empty(fmt::format("{}/{}/upper", path_, name)))
        throw Error(
            Errc::conflict,
            fmt::format(
                "the layer of \"{}\" has changes of another folder: keep or drop them first",
                place.target
            )
        );
    for (const char* part : {"upper", "work", "merged"}) make_folder(out.get(), part);
    if (known != text) write_place(out.get(), text);
    return out;
}

std::vector<Layer> layers_in(const std::string& folder) {
    std::vector<Layer> out;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
        const auto path = entry.path().string();
        const auto text = read_place(path + "/place");
        const auto first = text.find('\0');
        const auto second = text.find('\0', first + 1);
        const auto third = text.find('\0', second + 1);
        if (first == text.npos || second == text.npos || third == text.npos) continue;
        LayerPlace place;
        place.target = text.substr(0, first);
        place.source = text.substr(first + 1, second - first - 1);
        place.root = text.substr(second + 1, third - second - 1);
        out.push_back({path, std::move(place)});
    }
    std::sort(out.begin(), out.end(), [](const Layer& a, const Layer& b) {
        return a.place.target < b.place.target;
    });
    return out;
}

void remove_tree(const std::string& path) {
    const std::filesystem::path place(path);
    const UniqueFd parent(::open(place.parent_path().c_str(), kFolder));
    if (parent) remove_tree_at(parent.get(), place.filename().string());
}

void remove_tree_at(int parent, const std::string& name) {
    if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return;
    // What is too deep is moved to the top of the tree and removed by the next round.
    int moved = 0;
    for (int before = -1; before != moved;) {
        before = moved;
        const UniqueFd top(::openat(parent, name.c_str(), kFolder));
        if (!top) {
            Removal(parent, name.c_str(), moved).run();
            break;
        }
        Removal(top.get(), ".", moved).run();
    }
    (void)::unlinkat(parent, name.c_str(), AT_REMOVEDIR);
}

}  // namespace volary::cage
