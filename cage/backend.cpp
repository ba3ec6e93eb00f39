// SPDX-License-Identifier: Apache-2.0
#include "cage/backend.hpp"

#include "base/error.hpp"
#include "cage/compiler.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace volary::cage {
namespace {

using enum Guarantee;

constexpr bool kYes = true;
constexpr bool kNo = false;

constexpr std::array kTable{
    GuaranteeRow{
        namespaces,
        "namespaces",
        "user, pid, ipc, uts, cgroup, net and mount; no nested ones",
        {kYes, kYes, kYes, kNo}
    },
    GuaranteeRow{empty_root, "empty root", "what no rule binds is absent", {kYes, kYes, kYes, kNo}},
    GuaranteeRow{
        held_sources,
        "held sources",
        "what is bound is what was opened beforehand",
        {kYes, kYes, kYes, kYes}
    },
    GuaranteeRow{
        held_targets,
        "held targets",
        "no bind lands behind a link that an agent swapped in",
        {kYes, kYes, kYes, kYes}
    },
    GuaranteeRow{
        other_places,
        "other places",
        "a bind at another path than on the host; private and hidden places",
        {kYes, kYes, kYes, kNo}
    },
    GuaranteeRow{
        sized_folders,
        "sized folders",
        "private folders have a size of their own",
        {kYes, kYes, kYes, kNo}
    },
    GuaranteeRow{seccomp, "seccomp", "the filter of the profile", {kYes, kYes, kYes, kYes}},
    GuaranteeRow{
        seccomp_names,
        "named system calls",
        "added to or removed from the profile",
        {kYes, kYes, kYes, kYes}
    },
    GuaranteeRow{
        notify,
        "notified system calls",
        "refusals of the kernel become denials",
        {kYes, kYes, kYes, kNo}
    },
    GuaranteeRow{landlock, "landlock", "where the kernel has it", {kYes, kYes, kYes, kYes}},
    GuaranteeRow{
        no_network, "no network", "a policy without rules reaches nothing", {kYes, kYes, kYes, kYes}
    },
    GuaranteeRow{
        gatekeeper, "network rules", "an allowlist by the gatekeeper", {kYes, kYes, kYes, kNo}
    },
    GuaranteeRow{ports, "published ports", "through the daemon", {kYes, kYes, kYes, kNo}},
    GuaranteeRow{cow, "cow", "a layer that takes the changes", {kYes, kYes, kYes, kNo}},
    GuaranteeRow{kept, "kept state", "the home is there again", {kYes, kYes, kYes, kNo}},
    GuaranteeRow{devices, "devices", "device nodes of the host", {kYes, kYes, kYes, kNo}},
    GuaranteeRow{
        signal_pipe, "signal pipe", "descriptor 3 of an `exec` agent", {kYes, kYes, kYes, kYes}
    },
    GuaranteeRow{
        live_binds, "live grants", "paths and names added while it runs", {kYes, kYes, kYes, kNo}
    },
    GuaranteeRow{
        cgroup,
        "cgroup limits",
        "memory, swap, cpu and pids where the host has cgroups",
        {kYes, kYes, kYes, kYes}
    },
    GuaranteeRow{freeze, "freeze", "every process stands still", {kYes, kYes, kYes, kYes}},
    GuaranteeRow{
        proven_end, "proven end", "stop returns when no process is left", {kYes, kYes, kYes, kYes}
    },
};

const GuaranteeRow& row_of(Guarantee guarantee) noexcept {
    return *std::find_if(kTable.begin(), kTable.end(), [&](const GuaranteeRow& row) {
        return row.guarantee == guarantee;
    });
}

class Needs {
public:
    Needs(const CagePolicy& policy, CageBackend backend) : policy_(policy), backend_(backend) {}

    std::vector<std::string> list() {
        for (std::size_t i = 0; i < policy_.fs.size(); ++i) {
            const auto& rule = policy_.fs[i];
            if (rule.mode == FsMode::cow) add(cow, fmt::format("fs[{}]", i), rule.origin);
            if (!is_in_place(rule))
                add(other_places, fmt::format("fs[{}] \"{}\"", i, rule.target), rule.origin);
        }
        for (const auto& rule : policy_.net)
            add(gatekeeper, fmt::format("net.allow \"{}\"", rule.text), rule.origin);
        for (std::size_t i = 0; i < policy_.ports.size(); ++i)
            add(ports, "ports." + policy_.ports[i].name, at(fmt::format("net.ports[{}]", i)));
        each(policy_.seccomp_add, "seccomp.add", seccomp_names);
        each(policy_.seccomp_remove, "seccomp.remove", seccomp_names);
        each(policy_.devices, "devices", devices);
        if (policy_.state == CageState::kept) add(kept, "state: kept", at("state"));
        // Sampled for everybody; who writes it down means a size that holds.
        const auto disk = at("limits.disk");
        if (policy_.limits.disk && !disk.empty()) add(sized_folders, "limits.disk", disk);
        for (std::size_t i = 0; i < policy_.require.size(); ++i)
            layer(policy_.require[i], at(fmt::format("require[{}]", i)));
        return std::move(out_);
    }

private:
    /// The place of the host itself, or where it is below the workspace.
    bool is_in_place(const FsRule& rule) const {
        if (rule.mode == FsMode::cow) return true;
        if (rule.mode == FsMode::tmp || rule.mode == FsMode::hide) return false;
        if (rule.target == rule.source) return true;
        const auto& workspace = policy_.workspace;
        constexpr std::string_view kShown = kWorkspace;
        return !workspace.empty() && rule.target.starts_with(kShown) &&
               rule.source == workspace + rule.target.substr(kShown.size());
    }

    void add(Guarantee guarantee, std::string_view what, std::string_view origin) {
        if (gives(backend_, guarantee)) return;
        out_.push_back(fmt::format(
            "{}{}{} needs \"{}\", which backend \"{}\" does not give", origin,
            origin.empty() ? "" : ": ", what, row_of(guarantee).name, to_string(backend_)
        ));
    }

    std::string at(const std::string& key) const { return origin_of(policy_.origins, key); }

    void each(const std::vector<std::string>& list, std::string_view key, Guarantee guarantee) {
        for (std::size_t i = 0; i < list.size(); ++i)
            add(guarantee, fmt::format("{} \"{}\"", key, list[i]),
                at(fmt::format("{}[{}]", key, i)));
    }

    void layer(const std::string& name, const std::string& origin) {
        const auto what = fmt::format("require \"{}\"", name);
        if (name == "landlock") add(landlock, what, origin);
        if (name == "seccomp") add(seccomp, what, origin);
        if (name == "notify") add(notify, what, origin);
        if (name == "network") add(gatekeeper, what, origin);
        if (name == "disk") add(sized_folders, what, origin);
        for (const std::string_view held : {"cgroup", "memory", "swap", "cpu", "pids"})
            if (name == held) add(cgroup, what, origin);
    }

    const CagePolicy& policy_;
    CageBackend backend_;
    std::vector<std::string> out_;
};

}  // namespace

std::span<const GuaranteeRow> guarantees() noexcept { return kTable; }

bool gives(CageBackend backend, Guarantee guarantee) noexcept {
    return row_of(guarantee).given[static_cast<std::size_t>(backend)];
}

std::vector<std::string> lacking(const CagePolicy& policy, CageBackend backend) {
    if (policy.disabled) return {};
    return Needs(policy, backend).list();
}

void require_backend(const CagePolicy& policy) {
    const auto missing = lacking(policy, policy.backend);
    if (missing.empty()) return;
    throw Error(Errc::invalid, fmt::format("{}", fmt::join(missing, "; ")));
}

void require_services(CageBackend backend, const std::vector<std::string>& names) {
    if (names.empty() || gives(backend, gatekeeper)) return;
    throw Error(
        Errc::invalid, fmt::format(
                           "an agent's own services (models, tools of volary) need \"{}\", which "
                           "backend \"{}\" does "
                           "not give: it is for volary cage run",
                           row_of(gatekeeper).name, to_string(backend)
                       )
    );
}

void require_root(CageBackend backend, int landlock_abi) {
    if (landlock_abi > 0 || gives(backend, empty_root)) return;
    throw Error(
        Errc::unavailable, fmt::format(
                               "backend \"{}\" has the host's root, and this kernel no Landlock to "
                               "keep a cage from it",
                               to_string(backend)
                           )
    );
}

}  // namespace volary::cage
