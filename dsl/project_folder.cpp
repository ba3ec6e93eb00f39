// SPDX-License-Identifier: Apache-2.0
#include "dsl/project_folder.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

std::unexpected<FileProblem> fail(std::string message, std::string hint = {}) {
    return std::unexpected(FileProblem{std::move(message), std::move(hint)});
}

std::unexpected<FileProblem> fail_errno(int error, const std::string& relative) {
    const auto shown = relative.empty() ? std::string(".") : relative;
    switch (error) {
        case ENOENT:
        case ENOTDIR:
            return fail(fmt::format("there is no \"{}\" in the project", shown));
        case EXDEV:
            return fail(
                fmt::format("\"{}\" leaves the project through a symlink", shown),
                "only what is beneath the project's root can be named"
            );
        case ELOOP:
            return fail(fmt::format("\"{}\" goes round in symlinks", shown));
        default:
            return fail(fmt::format("open \"{}\": {}", shown, std::strerror(error)));
    }
}

/// "a//b/./c" to "a/b/c".
std::expected<std::string, FileProblem> normalise(std::string_view path) {
    std::string out;
    std::size_t from = 0;
    while (from <= path.size()) {
        const auto slash = std::min(path.find('/', from), path.size());
        const auto part = path.substr(from, slash - from);
        from = slash + 1;
        if (part.empty() || part == ".") continue;
        if (part == "..") return fail("\"..\" is not allowed in a path", "name the folder itself");
        if (part.size() > 255) return fail("a part of the path is longer than 255 bytes");
        for (const char c : part) {
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
                return fail("a control character is not allowed in a path");
            }
        }
        if (!out.empty()) out.push_back('/');
        out += part;
    }
    return out;
}

std::string name_of_fd(int fd) {
    std::array<char, 4096> target{};
    const auto link = fmt::format("/proc/self/fd/{}", fd);
    const auto length = ::readlink(link.c_str(), target.data(), target.size());
    if (length <= 0) return {};
    return {target.data(), static_cast<std::size_t>(length)};
}

}  // namespace

std::expected<std::string, FileProblem> read_regular(int fd, std::size_t max) {
    struct stat info{};
    if (::fstat(fd, &info) != 0) return fail(fmt::format("fstat: {}", std::strerror(errno)));
    if (!S_ISREG(info.st_mode)) return fail("expected a regular file");
    if (static_cast<std::uint64_t>(info.st_size) > max) {
        return fail(fmt::format("the file is larger than {} KiB", max / 1024));
    }
    // One byte more than it said, so that a file that grows meanwhile is noticed.
    std::string text(static_cast<std::size_t>(info.st_size) + 1, '\0');
    std::size_t length = 0;
    while (length < text.size()) {
        const auto got = ::read(fd, text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(fmt::format("read: {}", std::strerror(errno)));
        if (got == 0) break;
        length += static_cast<std::size_t>(got);
    }
    if (length == text.size()) return fail("the file changes while it is read", "try again");
    text.resize(length);
    return text;
}

ProjectFolder::ProjectFolder(UniqueFd fd, std::string root, std::string config)
    : fd_(std::move(fd)), root_(std::move(root)), config_(std::move(config)) {}

std::expected<ProjectFolder, FileProblem> ProjectFolder::open(
    const std::filesystem::path& root, std::string config
) {
    UniqueFd fd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail(fmt::format("open \"{}\": {}", root.string(), std::strerror(errno)));
    auto name = name_of_fd(fd.get());
    // A root at "/" would make every absolute path a project path.
    if (name.empty() || name == "/") return fail("the project's root cannot be \"/\"");
    return ProjectFolder(std::move(fd), std::move(name), std::move(config));
}

UniqueFd ProjectFolder::open_beneath(const std::string& relative, int flags) const {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    const auto* path = relative.empty() ? "." : relative.c_str();
    const auto fd = ::syscall(SYS_openat2, fd_.get(), path, &how, sizeof how);
    return UniqueFd(static_cast<int>(fd));
}

bool ProjectFolder::exists(const std::string& relative) const {
    return static_cast<bool>(open_beneath(relative, O_PATH));
}

/// "prompts/a.md" -> "prompts/a.local.md".
std::string ProjectFolder::twin(const std::string& relative) const {
    const auto slash = relative.rfind('/');
    const auto name_at = slash == std::string::npos ? 0 : slash + 1;
    auto dot = relative.rfind('.');
    if (dot == std::string::npos || dot <= name_at) dot = relative.size();
    return relative.substr(0, dot) + ".local" + relative.substr(dot);
}

std::expected<Place, FileProblem> ProjectFolder::resolve(std::string_view uri, Want want) const {
    constexpr std::string_view project = "project:/";
    constexpr std::string_view config = "config:/";
    const bool in_config = uri.starts_with(config);
    if (!in_config && !uri.starts_with(project))
        return fail("expected project:/... or config:/...");
    auto path = normalise(uri.substr(in_config ? config.size() : project.size()));
    if (!path) return std::unexpected(std::move(path.error()));
    auto relative = std::move(*path);
    if (in_config) {
        relative = relative.empty() ? config_ : config_ + "/" + relative;
        if (auto other = twin(relative); relative != config_ && exists(other))
            relative = std::move(other);
    }
    const auto fd = open_beneath(relative, O_PATH);
    if (!fd) return fail_errno(errno, relative);
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) return fail_errno(errno, relative);
    if (want == Want::file && !S_ISREG(info.st_mode)) {
        return fail(fmt::format("\"{}\" is not a regular file", relative));
    }
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
        return fail(fmt::format("\"{}\" is neither a folder nor a regular file", relative));
    }
    const auto resolved = name_of_fd(fd.get());
    Place place;
    place.folder = S_ISDIR(info.st_mode);
    place.source = relative.empty() ? root_ : root_ + "/" + relative;
    place.relative = std::move(relative);
    if (resolved.starts_with(root_ + "/")) place.resolved = resolved.substr(root_.size() + 1);
    return place;
}

std::expected<std::optional<std::string>, FileProblem> ProjectFolder::read(
    const std::string& relative, std::size_t max
) const {
    // O_NONBLOCK: opening a FIFO that nobody writes to must not hang the daemon.
    const auto fd = open_beneath(relative, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!fd && errno == ENOENT) return std::optional<std::string>();
    if (!fd) return fail_errno(errno, relative);
    auto text = read_regular(fd.get(), max);
    if (!text) return std::unexpected(std::move(text.error()));
    return std::optional(std::move(*text));
}

}  // namespace volary::dsl
