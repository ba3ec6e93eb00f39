// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/secret_file.hpp"

#include "base/unique_fd.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::app {
namespace {

constexpr std::size_t kMaxSecret = 16'384;  // The largest request head that servers take.

std::string problem_of_file(int fd) {
    struct stat info{};
    if (::fstat(fd, &info) != 0) return fmt::format("fstat: {}", std::strerror(errno));
    if (!S_ISREG(info.st_mode)) return "it is not a regular file";
    if (info.st_uid != ::geteuid() && info.st_uid != 0)
        return fmt::format("it belongs to uid {}: expected the daemon's user or root", info.st_uid);
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return fmt::format(
            "group or others may use it (mode {:04o}): chmod 600 it", info.st_mode & 07777U
        );
    if (static_cast<std::uint64_t>(info.st_size) > kMaxSecret)
        return fmt::format("it is larger than {} bytes", kMaxSecret);
    return {};
}

}  // namespace

std::string problem_of_secret(const std::string& value) {
    if (value.empty()) return "it is empty";
    const auto printable = [](char c) { return static_cast<unsigned char>(c) > 0x1F && c != 0x7F; };
    if (!std::ranges::all_of(value, printable))
        return "it holds a control character or a second line";
    if (value.front() == ' ' || value.back() == ' ') return "it begins or ends with a space";
    return {};
}

std::expected<Secret, std::string> read_secret_file(const std::string& path) {
    if (!path.starts_with('/')) return std::unexpected("must be an absolute path");
    const auto fail = [&](const std::string& why) {
        return std::unexpected(fmt::format("\"{}\": {}", path, why));
    };
    // A link would lead a reader of the config to another file than the one that is checked here.
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) return fail(std::strerror(errno));
    if (const auto problem = problem_of_file(fd.get()); !problem.empty()) return fail(problem);
    std::string text(kMaxSecret + 1, '\0');
    std::size_t length = 0;
    while (length < text.size()) {
        const auto got = ::read(fd.get(), text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(std::strerror(errno));
        if (got == 0) break;
        length += static_cast<std::size_t>(got);
    }
    text.resize(length);
    if (text.ends_with('\n')) text.pop_back();
    if (text.ends_with('\r')) text.pop_back();
    if (const auto problem = problem_of_secret(text); !problem.empty()) return fail(problem);
    return Secret(std::move(text));
}

}  // namespace volary::app
