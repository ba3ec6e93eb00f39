// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ids.hpp"
#include "base/policy.hpp"
#include "base/unique_fd.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

enum class LimitsBackend { none, cgroup_v2, cgroup_v1, rlimits };

/// "cgroup v2", "cgroup v1", "rlimits + supervision", "none".
std::string_view to_string(LimitsBackend backend) noexcept;

/// Where this process may make cgroups for its cages.
struct CgroupPlace {
    LimitsBackend backend = LimitsBackend::rlimits;
    /// Controller ("memory", "pids", "cpu", "freezer") to folder; for v2 all name the same folder.
    std::map<std::string, std::string> folders;
    bool operator==(const CgroupPlace&) const = default;
};

/// Finds the place from the texts of /proc/self/cgroup and /proc/self/mountinfo. `writable` tells
/// whether we may make folders there, `read` gives a file's text ("" when there is none). Pure.
/// v2 needs a folder of ours whose children have memory and pids; v1 the folders of both.
CgroupPlace choose_cgroups(
    std::string_view self_cgroup, std::string_view mountinfo,
    const std::function<bool(const std::string&)>& writable,
    const std::function<std::string(const std::string&)>& read
);

/// choose_cgroups() on this host. In a delegated v2 subtree the kernel wants processes only in
/// leaves: this process is then moved into the child `daemon`, once.
CgroupPlace find_cgroups();

/// Folders that root makes for a daemon which it starts, from the same texts: `name` below this
/// process's own cgroup, in the version 2 tree and in each version 1 tree of memory, pids, cpu and
/// freezer. A user can only use a subtree that it is in, so root puts the process there first.
/// Pure.
std::vector<std::string> cgroup_homes(
    std::string_view name, std::string_view self_cgroup, std::string_view mountinfo
);

/// The cgroup of one cage, with its limits set; removed by the destructor (the cage is empty then).
class CageCgroup {
public:
    /// Throws Error{io} naming the file that could not be written.
    static CageCgroup create(const CgroupPlace& place, const CageId& id, const CageLimits& limits);

    /// The one that an earlier daemon made; nothing when it is not there.
    static std::optional<CageCgroup> adopt(const CgroupPlace& place, const CageId& id);

    CageCgroup(CageCgroup&&) = default;
    CageCgroup& operator=(CageCgroup&&) = default;
    ~CageCgroup();

    /// cgroup.procs files, open for writing: what enters the cage writes "0" to each.
    std::vector<UniqueFd> open_procs() const;
    /// False when this place cannot freeze; the caller then uses signals.
    bool freeze(bool frozen) const;
    /// Processes that the kernel ended for lack of memory.
    std::uint64_t oom_kills() const;
    /// Bytes in use, and the most that ever were; 0 when the kernel does not tell.
    std::uint64_t memory() const;
    std::uint64_t peak_memory() const;
    std::uint32_t pids() const;
    /// New processes that were refused.
    std::uint64_t refused_pids() const;
    /// Nothing where the cpu time is not counted here.
    std::optional<std::chrono::microseconds> cpu_time() const;

private:
    CageCgroup() = default;
    std::string read(const char* controller, const char* v2, const char* v1) const;

    LimitsBackend backend_ = LimitsBackend::none;
    std::map<std::string, std::string> folders_;
};

}  // namespace volary::cage
