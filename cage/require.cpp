// SPDX-License-Identifier: Apache-2.0
#include "cage/require.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

// From include/uapi/linux/landlock.h and seccomp.h.
constexpr unsigned kLandlockVersion = 1U << 0U;
constexpr unsigned kNotifySizes = 3;

std::string read_all(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

/// A host without swap has none to limit.
bool has_swap() {
    const auto text = read_all("/proc/swaps");
    return std::count(text.begin(), text.end(), '\n') > 1;
}

std::set<std::string> controllers_of(const CgroupPlace& place) {
    std::set<std::string> out;
    if (place.backend == LimitsBackend::cgroup_v1) {
        for (const auto& [name, folder] : place.folders) out.insert(name);
        if (!has_swap() || exists(place.folders.at("memory") + "/memory.memsw.limit_in_bytes"))
            out.insert("swap");
    }
    if (place.backend == LimitsBackend::cgroup_v2) {
        const auto& folder = place.folders.at("memory");
        const auto enabled = read_all(folder + "/cgroup.subtree_control");
        for (const char* name : {"memory", "pids", "cpu"})
            if (enabled.find(name) != std::string::npos) out.insert(name);
        if (!has_swap() || exists(folder + "/memory.swap.max")) out.insert("swap");
    }
    return out;
}

bool writes_to_host(const CagePolicy& policy) {
    if (!policy.workspace.empty() && policy.workspace_writable) return true;
    return std::any_of(policy.fs.begin(), policy.fs.end(), [](const FsRule& rule) {
        return rule.mode == FsMode::rw || rule.mode == FsMode::cow;
    });
}

std::string problem_with(
    const std::string& layer, const CagePolicy& policy, const HostLayers& host
) {
    constexpr const char* kCgroup =
        "no cgroup of this host holds it: run volary as a systemd service with Delegate=yes, or "
        "let root start it";
    if (layer == "landlock" && host.landlock_abi == 0)
        return "the kernel has none: Linux 5.13 with CONFIG_SECURITY_LANDLOCK, booted with "
               "lsm=landlock,...";
    if (layer == "notify" && !host.notify)
        return "this kernel does not tell system calls to a supervisor (Linux 5.5)";
    if (layer == "cgroup" && host.controllers.empty()) return kCgroup;
    for (const char* name : {"memory", "swap", "cpu", "pids"})
        if (layer == name && !host.controllers.contains(name)) return kCgroup;
    if (layer == "disk" && (writes_to_host(policy) || policy.state == CageState::kept))
        return "what is written through rw and cow entries and into a kept home is only sampled, "
               "or not at all: use ro and tmp entries";
    const auto known = layer_names();
    if (std::find(known.begin(), known.end(), layer) == known.end())
        return "there is no such layer";
    return {};
}

}  // namespace

HostLayers look_at_host(const CgroupPlace& cgroups) {
    HostLayers out;
    const auto abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kLandlockVersion);
    out.landlock_abi = abi > 0 ? static_cast<int>(abi) : 0;
    std::uint16_t sizes[3] = {};
    out.notify = ::syscall(SYS_seccomp, kNotifySizes, 0, sizes) == 0;
    out.controllers = controllers_of(cgroups);
    return out;
}

std::vector<std::string> missing_layers(const CagePolicy& policy, const HostLayers& host) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < policy.require.size(); ++i) {
        const auto& layer = policy.require[i];
        const auto problem = problem_with(layer, policy, host);
        if (problem.empty()) continue;
        const auto key = named_key(policy.origins, fmt::format("require[{}]", i));
        out.push_back(fmt::format("{}: {}: {}", key, layer, problem));
    }
    return out;
}

}  // namespace volary::cage
