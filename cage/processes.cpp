// SPDX-License-Identifier: Apache-2.0
#include "cage/processes.hpp"

#include "base/unique_fd.hpp"

#include <algorithm>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// A line of children or stat is shorter; a cage with more children of one process than fit here
/// is beyond its process limit anyway.
constexpr std::size_t kMaxText = std::size_t{64} * 1024;

std::string read_text(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string out;
    char part[4096];
    while (file && out.size() < kMaxText) {
        const auto got = ::read(file.get(), part, sizeof part);
        if (got <= 0) break;
        out.append(part, static_cast<std::size_t>(got));
    }
    return out;
}

}  // namespace

bool parse_stat(std::string_view text, ProcessState& out) noexcept {
    out = {};
    const auto name_end = text.rfind(')');
    if (name_end == text.npos || name_end + 2 >= text.size()) return false;
    const char* at = text.data() + name_end + 2;
    const char* const end = text.data() + text.size();
    out.state = *at++;
    // Fields 4 (ppid) to 24 (rss), proc(5); some between are negative.
    for (int field = 4; field <= 24; ++field) {
        at = std::find_if(at, end, [](char c) { return c != ' '; });
        std::int64_t value = 0;
        const auto [next, error] = std::from_chars(at, end, value);
        // vsize and the limits may exceed a signed number: skipped by their digits.
        if (error == std::errc::invalid_argument) return false;
        if (field == 4) out.parent = static_cast<pid_t>(value);
        // utime, stime, cutime, cstime.
        if (field >= 14 && field <= 17 && value > 0)
            out.cpu_ticks += static_cast<std::uint64_t>(value);
        if (field == 24) out.rss_pages = value > 0 ? static_cast<std::uint64_t>(value) : 0;
        at = next;
    }
    return true;
}

bool look_at(pid_t pid, ProcessState& out) {
    return parse_stat(read_text(fmt::format("/proc/{}/stat", pid)), out);
}

bool is_alive(char state) noexcept { return state != 'Z' && state != 'X' && state != 'x'; }

void add_children(pid_t pid, std::vector<pid_t>& out) {
    const auto text = read_text(fmt::format("/proc/{}/task/{}/children", pid, pid));
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
        pid_t child = 0;
        const auto [next, error] = std::from_chars(at, end, child);
        if (error != std::errc{}) break;
        out.push_back(child);
        at = std::find_if(next, end, [](char c) { return c != ' '; });
    }
}

ino_t pid_namespace(pid_t pid) noexcept {
    char path[64];
    *fmt::format_to_n(path, sizeof path - 1, "/proc/{}/ns/pid", pid).out = '\0';
    struct stat info{};
    return ::stat(path, &info) == 0 ? info.st_ino : 0;
}

bool is_stopped(pid_t pid) {
    ProcessState now;
    return !look_at(pid, now) || !is_alive(now.state) || now.state == 'T';
}

std::vector<pid_t> processes_in(ino_t pid_namespace_inode) {
    std::vector<pid_t> out;
    if (pid_namespace_inode == 0) return out;
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc"), &::closedir);
    if (!folder) return out;
    while (const auto* entry = ::readdir(folder.get())) {
        const std::string_view name = entry->d_name;
        pid_t pid = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (error != std::errc{} || *end != '\0') continue;
        if (pid_namespace(pid) != pid_namespace_inode) continue;
        ProcessState state;
        if (look_at(pid, state) && is_alive(state.state)) out.push_back(pid);
    }
    return out;
}

std::vector<pid_t> family_of(pid_t pid) {
    std::vector<pid_t> all{pid};
    for (std::size_t i = 0; i < all.size(); ++i) add_children(all[i], all);
    std::erase_if(all, [](pid_t one) {
        ProcessState state;
        return !look_at(one, state) || !is_alive(state.state);
    });
    return all;
}

bool has_listener(std::string_view table, std::uint16_t port) noexcept {
    // Columns: "sl: LOCAL:PORT REMOTE:PORT ST ...", hexadecimal; state 0A is TCP_LISTEN. Addresses
    // are in the host's byte order by 32 bit words, ours are those of a little endian machine.
    constexpr std::string_view addresses[] = {
        "0100007F", "00000000", "00000000000000000000000001000000",
        "00000000000000000000000000000000"
    };
    while (!table.empty()) {
        const auto end = std::min(table.find('\n'), table.size());
        auto line = table.substr(0, end);
        table.remove_prefix(std::min(end + 1, table.size()));
        const auto start = line.find(": ");
        if (start == line.npos) continue;
        line.remove_prefix(start + 2);
        const auto colon = line.find(':');
        if (colon == line.npos || line.size() < colon + 5) continue;
        unsigned number = 0;
        const auto* digits = line.data() + colon + 1;
        if (std::from_chars(digits, digits + 4, number, 16).ptr != digits + 4) continue;
        if (number != port ||
            std::ranges::find(addresses, line.substr(0, colon)) == std::ranges::end(addresses))
            continue;
        line.remove_prefix(colon + 5);
        const auto state = line.find(' ', 1);
        if (state != line.npos && line.substr(state).starts_with(" 0A")) return true;
    }
    return false;
}

bool listens_on(pid_t pid, std::uint16_t port) {
    const auto folder = fmt::format("/proc/{}/net/", pid);
    return has_listener(read_text(folder + "tcp"), port) ||
           has_listener(read_text(folder + "tcp6"), port);
}

}  // namespace volary::cage
