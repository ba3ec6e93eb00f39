// SPDX-License-Identifier: Apache-2.0
#include "cage/limits.hpp"

#include "base/error.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// Scheduling period of cpu.max and cpu.cfs_quota_us; the kernel's default.
constexpr int kCpuPeriodUs = 100'000;
/// The leaf of a delegated subtree in which the daemon itself lives.
constexpr const char* kDaemonLeaf = "daemon";

std::vector<std::string_view> split(std::string_view text, char by) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const auto end = std::min(text.find(by), text.size());
        if (end > 0) out.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

bool has_word(std::string_view text, std::string_view word) {
    const auto words = split(text, ' ');
    return std::any_of(words.begin(), words.end(), [&](std::string_view one) {
        return one == word || one == std::string(word) + "\n";
    });
}

std::string read_text(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[4096];
    const auto got = file ? ::read(file.get(), text, sizeof text) : -1;
    return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : std::string();
}

bool write_text(const std::string& path, std::string_view text) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    return file &&
           ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// A cgroup mount: its root within the hierarchy, where it is, its type and controllers.
struct MountLine {
    std::string root, point;
    bool v2 = false;
    std::vector<std::string> controllers;
};

/// One line of /proc/self/mountinfo (proc(5)); nothing for other file systems.
std::optional<MountLine> parse_mount(std::string_view line) {
    const auto parts = split(line, ' ');
    const auto dash = std::find(parts.begin(), parts.end(), "-");
    if (parts.size() < 10 || parts.end() - dash < 4) return std::nullopt;
    MountLine out;
    out.root = parts[3];
    out.point = parts[4];
    out.v2 = dash[1] == "cgroup2";
    if (!out.v2 && dash[1] != "cgroup") return std::nullopt;
    for (const auto option : split(dash[3], ',')) out.controllers.emplace_back(option);
    return out;
}

/// The folder of cgroup `path` under a mount; nothing when the mount does not show it.
std::optional<std::string> folder_of(const MountLine& mount, std::string_view path) {
    if (mount.root != "/" && !path.starts_with(mount.root)) return std::nullopt;
    if (mount.root != "/") path.remove_prefix(mount.root.size());
    if (path == "/") path = {};
    return mount.point + std::string(path);
}

struct OwnCgroups {
    std::map<std::string, std::string> v1;  ///< controller -> path
    std::string v2;
};

/// /proc/self/cgroup: "4:memory:/a/b" and "0::/c" (cgroups(7)).
OwnCgroups parse_own(std::string_view text) {
    OwnCgroups out;
    for (const auto line : split(text, '\n')) {
        const auto first = line.find(':');
        const auto second = first == line.npos ? first : line.find(':', first + 1);
        if (second == line.npos) continue;
        const auto names = line.substr(first + 1, second - first - 1);
        const auto path = line.substr(second + 1);
        if (names.empty()) out.v2 = path;
        for (const auto name : split(names, ',')) out.v1.emplace(name, path);
    }
    return out;
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

/// The number that follows `key` in a file of the kernel; 0 when it is not there.
std::uint64_t number_after(std::string_view text, std::string_view key) {
    const auto at = text.find(key);
    if (at == text.npos) return 0;
    std::uint64_t out = 0;
    std::from_chars(text.data() + at + key.size(), text.data() + text.size(), out);
    return out;
}

void require_write(const std::string& path, const std::string& text) {
    if (!write_text(path, text)) throw_errno("write", path);
}

void set_v2_limits(const std::string& folder, const CageLimits& limits) {
    if (limits.memory) {
        require_write(folder + "/memory.max", std::to_string(limits.memory->value));
        // Absent without swap accounting; the limit then holds for memory alone.
        const auto swap = limits.swap.value_or(ByteCount{0}).value;
        (void)write_text(folder + "/memory.swap.max", std::to_string(swap));
        (void)write_text(folder + "/memory.oom.group", "1");
    }
    if (limits.pids) require_write(folder + "/pids.max", std::to_string(*limits.pids));
    if (limits.cpu) {
        const auto quota = static_cast<std::int64_t>(*limits.cpu * kCpuPeriodUs);
        require_write(folder + "/cpu.max", fmt::format("{} {}", quota, kCpuPeriodUs));
    }
}

void set_v1_limits(const std::map<std::string, std::string>& folders, const CageLimits& limits) {
    if (limits.memory) {
        const auto& folder = folders.at("memory");
        const auto memory = limits.memory->value;
        require_write(folder + "/memory.limit_in_bytes", std::to_string(memory));
        // Counts memory and swap together; absent without swap accounting.
        const auto both = memory + limits.swap.value_or(ByteCount{0}).value;
        (void)write_text(folder + "/memory.memsw.limit_in_bytes", std::to_string(both));
    }
    if (limits.pids) require_write(folders.at("pids") + "/pids.max", std::to_string(*limits.pids));
    if (limits.cpu && folders.contains("cpu")) {
        const auto quota = static_cast<std::int64_t>(*limits.cpu * kCpuPeriodUs);
        require_write(folders.at("cpu") + "/cpu.cfs_quota_us", std::to_string(quota));
    }
}

}  // namespace

std::string_view to_string(LimitsBackend backend) noexcept {
    switch (backend) {
        case LimitsBackend::none:
            return "none";
        case LimitsBackend::cgroup_v2:
            return "cgroup v2";
        case LimitsBackend::cgroup_v1:
            return "cgroup v1";
        case LimitsBackend::rlimits:
            return "rlimits + supervision";
    }
    return "none";
}

CgroupPlace choose_cgroups(
    std::string_view self_cgroup, std::string_view mountinfo,
    const std::function<bool(const std::string&)>& writable,
    const std::function<std::string(const std::string&)>& read
) {
    const auto own = parse_own(self_cgroup);
    CgroupPlace v1;
    for (const auto line : split(mountinfo, '\n')) {
        const auto mount = parse_mount(line);
        if (!mount) continue;
        if (mount->v2) {
            if (own.v2.empty() || own.v2 == "/") continue;
            auto folder = folder_of(*mount, own.v2);
            if (folder && folder->ends_with(std::string("/") + kDaemonLeaf))
                folder = parent_of(*folder);
            if (!folder || !writable(*folder)) continue;
            const auto controllers = read(*folder + "/cgroup.controllers");
            if (!has_word(controllers, "memory") || !has_word(controllers, "pids")) continue;
            CgroupPlace place{LimitsBackend::cgroup_v2, {}};
            for (const char* name : {"memory", "pids", "cpu", "freezer"})
                place.folders[name] = *folder;
            return place;
        }
        for (const auto& name : mount->controllers) {
            const auto path = own.v1.find(name);
            // The root cgroup is the host's: a folder of ours is one that was made for us.
            if (path == own.v1.end() || path->second == "/") continue;
            const auto folder = folder_of(*mount, path->second);
            if (folder && writable(*folder)) v1.folders[name] = *folder;
        }
    }
    if (v1.folders.contains("memory") && v1.folders.contains("pids")) {
        v1.backend = LimitsBackend::cgroup_v1;
        return v1;
    }
    return {};
}

std::vector<std::string> cgroup_homes(
    std::string_view name, std::string_view self_cgroup, std::string_view mountinfo
) {
    const auto own = parse_own(self_cgroup);
    std::set<std::string> out;
    for (const auto line : split(mountinfo, '\n')) {
        const auto mount = parse_mount(line);
        if (!mount) continue;
        std::optional<std::string> folder;
        if (mount->v2) {
            folder = folder_of(*mount, own.v2);
        } else {
            for (const auto& controller : mount->controllers) {
                const bool used = controller == "memory" || controller == "pids" ||
                                  controller == "cpu" || controller == "freezer";
                const auto path = own.v1.find(controller);
                if (used && path != own.v1.end()) folder = folder_of(*mount, path->second);
            }
        }
        if (folder) out.insert(*folder + "/" + std::string(name));
    }
    return {out.begin(), out.end()};
}

CgroupPlace find_cgroups() {
    const auto writable = [](const std::string& path) { return ::access(path.c_str(), W_OK) == 0; };
    auto place = choose_cgroups(
        read_text("/proc/self/cgroup"), read_text("/proc/self/mountinfo"), writable, read_text
    );
    if (place.backend != LimitsBackend::cgroup_v2) return place;
    const auto& folder = place.folders.at("memory");
    const auto enabled = read_text(folder + "/cgroup.subtree_control");
    if (has_word(enabled, "memory") && has_word(enabled, "pids")) return place;
    const auto leaf = folder + "/" + kDaemonLeaf;
    (void)::mkdir(leaf.c_str(), 0755);
    const bool moved = write_text(leaf + "/cgroup.procs", "0");
    if (moved && write_text(folder + "/cgroup.subtree_control", "+memory +pids")) {
        // Not every delegated subtree has the cpu controller.
        (void)write_text(folder + "/cgroup.subtree_control", "+cpu");
        return place;
    }
    if (moved) (void)write_text(folder + "/cgroup.procs", "0");
    (void)::rmdir(leaf.c_str());
    log::debug("cgroup subtree is shared with other processes", {{"folder", folder}});
    return {};
}

CageCgroup CageCgroup::create(
    const CgroupPlace& place, const CageId& id, const CageLimits& limits
) {
    CageCgroup out;
    out.backend_ = place.backend;
    std::set<std::string> made;
    for (const auto& [name, parent] : place.folders) {
        const auto folder = parent + "/" + id.str();
        if (made.insert(folder).second && ::mkdir(folder.c_str(), 0755) < 0)
            throw_errno("make cgroup", folder);
        out.folders_[name] = folder;
    }
    if (place.backend == LimitsBackend::cgroup_v2) set_v2_limits(out.folders_.at("memory"), limits);
    if (place.backend == LimitsBackend::cgroup_v1) set_v1_limits(out.folders_, limits);
    return out;
}

std::optional<CageCgroup> CageCgroup::adopt(const CgroupPlace& place, const CageId& id) {
    CageCgroup out;
    out.backend_ = place.backend;
    for (const auto& [name, parent] : place.folders) {
        auto folder = parent + "/" + id.str();
        if (::access(folder.c_str(), F_OK) == 0) out.folders_[name] = std::move(folder);
    }
    if (out.folders_.empty()) return std::nullopt;
    return out;
}

CageCgroup::~CageCgroup() {
    for (const auto& [name, folder] : folders_) (void)::rmdir(folder.c_str());
}

std::vector<UniqueFd> CageCgroup::open_procs() const {
    std::vector<UniqueFd> out;
    std::set<std::string> seen;
    for (const auto& [name, folder] : folders_) {
        if (!seen.insert(folder).second) continue;
        const auto path = folder + "/cgroup.procs";
        out.emplace_back(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
        if (!out.back()) throw_errno("open", path);
    }
    return out;
}

bool CageCgroup::freeze(bool frozen) const {
    const auto found = folders_.find("freezer");
    if (found == folders_.end()) return false;
    if (backend_ == LimitsBackend::cgroup_v2)
        return write_text(found->second + "/cgroup.freeze", frozen ? "1" : "0");
    return write_text(found->second + "/freezer.state", frozen ? "FROZEN" : "THAWED");
}

std::string CageCgroup::read(const char* controller, const char* v2, const char* v1) const {
    const auto found = folders_.find(controller);
    if (found == folders_.end()) return {};
    const auto* name = backend_ == LimitsBackend::cgroup_v2 ? v2 : v1;
    return read_text(found->second + "/" + name);
}

std::uint64_t CageCgroup::oom_kills() const {
    return number_after(read("memory", "memory.events", "memory.oom_control"), "oom_kill ");
}

std::uint64_t CageCgroup::memory() const {
    return number_after(read("memory", "memory.current", "memory.usage_in_bytes"), "");
}

std::uint64_t CageCgroup::peak_memory() const {
    return number_after(read("memory", "memory.peak", "memory.max_usage_in_bytes"), "");
}

std::uint32_t CageCgroup::pids() const {
    return static_cast<std::uint32_t>(number_after(read("pids", "pids.current", "pids.current"), "")
    );
}

std::uint64_t CageCgroup::refused_pids() const {
    return number_after(read("pids", "pids.events", "pids.events"), "max ");
}

std::optional<std::chrono::microseconds> CageCgroup::cpu_time() const {
    // v1 counts it in a controller of its own, which nobody delegates.
    if (backend_ != LimitsBackend::cgroup_v2) return std::nullopt;
    const auto text = read("memory", "cpu.stat", "");
    if (text.empty()) return std::nullopt;
    return std::chrono::microseconds(number_after(text, "usage_usec "));
}

}  // namespace volary::cage
