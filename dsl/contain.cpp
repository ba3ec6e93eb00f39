// SPDX-License-Identifier: Apache-2.0
#include "dsl/contain.hpp"

#include "base/net_cover.hpp"
#include "base/units.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

std::string words(ByteCount size) { return format_size(size); }
std::string words(std::chrono::milliseconds time) { return format_duration(time); }
std::string words(double number) { return fmt::format("{}", number); }
std::string words(std::uint32_t number) { return fmt::format("{}", number); }

class Container {
public:
    Container(BuiltCage& cage, const CageBounds& bounds, Report& report)
        : cage_(cage), bounds_(bounds), report_(report) {}

    void hold_limits() {
        limit("memory", &CageLimits::memory);
        limit("swap", &CageLimits::swap);
        limit("cpu", &CageLimits::cpu);
        limit("pids", &CageLimits::pids);
        limit("wall", &CageLimits::wall);
        limit("disk", &CageLimits::disk);
        limit("files", &CageLimits::files);
        limit("output", &CageLimits::output);
    }

    void hold_net();
    void hold_seccomp();
    void hold_devices();
    void hold_require();
    void hold_disabled();

private:
    void tell(const Said& said, std::string message, const Bound& bound) {
        report_.add(said.mark, said.path, std::move(message), containment_hint(bound));
    }
    Said said(const std::string& key) const {
        const auto found = cage_.keys.find(key);
        return found == cage_.keys.end() ? Said{} : found->second;
    }

    template <class T>
    void limit(const std::string& name, std::optional<T> CageLimits::* field) {
        const auto found = bounds_.limits.find(name);
        if (found == bounds_.limits.end()) return;
        const auto& bound = found->second;
        const auto& most = bound.cage->policy.limits.*field;
        auto& asked = cage_.policy.limits.*field;
        const auto key = "limits." + name;
        if (asked && !(*most < *asked)) return;
        if (!cage_.says(key)) {
            // Without swap there is none, which is less than any.
            if (asked || name != "swap") asked = most;
            return;
        }
        if (!asked) return;  // It was refused.
        tell(
            said(key),
            fmt::format(
                "{} is more than the {} of \"{}\"", words(*asked), words(*most), bound.agent
            ),
            bound
        );
    }

    /// Drops what `covered` refuses, or tells it where the agent itself says the list.
    template <class Covered>
    void hold_list(
        std::vector<std::string>& list, const std::string& name, bool own, const Bound& bound,
        std::string_view what, const Covered& covered
    );

    BuiltCage& cage_;
    const CageBounds& bounds_;
    Report& report_;
};

/// Why `rule` is not covered, as far as one rule for its target can tell.
std::string_view excess_of(const NetRule& rule, const NetRule* same) {
    if (same == nullptr) return "is not among";
    if (rule.allow_private && !same->allow_private) return "is private, unlike";
    if (rule.credential != same->credential) return "has another credential than";
    if (rule.methods != same->methods || rule.paths != same->paths)
        return "has other methods or paths than";
    return "has another sni than";
}

/// Of one cage: the file is refused then, and comparing all rules of a hostile one takes long.
constexpr std::size_t kMaxToldRules = 50;

void Container::hold_net() {
    const auto& bound = bounds_.net;
    if (!bound) return;
    const NetCover most(bound.cage->policy.net);
    auto& rules = cage_.policy.net;
    std::vector<NetRule> kept;
    std::vector<Said> places;
    std::size_t told = 0;
    for (std::size_t i = 0; i < rules.size(); ++i) {
        if (told == kMaxToldRules) break;
        const auto* same = most.find_target(rules[i]);
        const auto within = same != nullptr && most.covers(rules[i]);
        if (!within && !cage_.says("net.allow")) continue;
        if (!within) ++told;
        if (!within)
            tell(
                cage_.net[i],
                fmt::format(
                    "\"{}\" {} what \"{}\" may reach", rules[i].text, excess_of(rules[i], same),
                    bound.agent
                ),
                bound
            );
        kept.push_back(std::move(rules[i]));
        places.push_back(std::move(cage_.net[i]));
    }
    rules = std::move(kept);
    cage_.net = std::move(places);
}

template <class Covered>
void Container::hold_list(
    std::vector<std::string>& list, const std::string& name, bool own, const Bound& bound,
    std::string_view what, const Covered& covered
) {
    if (!own) {
        const auto before = list.size();
        std::erase_if(list, [&](const std::string& each) { return !covered(each); });
        if (list.size() == before) return;
        // Their places no longer fit; what came by default has none that matters.
        std::erase_if(cage_.keys, [&](const auto& key) {
            return key.first.starts_with(name + "[");
        });
        std::erase_if(cage_.policy.origins, [&](const auto& key) {
            return key.first.starts_with(name + "[");
        });
        return;
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
        if (covered(list[i])) continue;
        tell(
            said(fmt::format("{}[{}]", name, i)),
            fmt::format("\"{}\" is not among the {} of \"{}\"", list[i], what, bound.agent), bound
        );
    }
}

void Container::hold_seccomp() {
    const auto& bound = bounds_.seccomp;
    if (!bound) return;
    const auto& most = bound.cage->policy;
    auto& policy = cage_.policy;
    const bool own = cage_.says("seccomp");
    if (policy.seccomp == SeccompProfile::relaxed && most.seccomp != SeccompProfile::relaxed) {
        if (own)
            tell(
                said("seccomp"), fmt::format("relaxed is more than \"{}\" has", bound.agent), bound
            );
        policy.seccomp = SeccompProfile::standard;
    }
    const auto allowed = [&](const std::string& call) {
        return std::ranges::find(most.seccomp_add, call) != most.seccomp_add.end();
    };
    hold_list(policy.seccomp_add, "seccomp.add", own, bound, "added system calls", allowed);
    for (const auto& call : most.seccomp_remove) {
        auto& removed = policy.seccomp_remove;
        if (std::ranges::find(removed, call) == removed.end()) removed.push_back(call);
    }
}

void Container::hold_devices() {
    const auto& bound = bounds_.devices;
    if (!bound) return;
    const auto& most = bound.cage->policy.devices;
    const auto allowed = [&](const std::string& device) {
        return std::ranges::find(most, device) != most.end();
    };
    hold_list(cage_.policy.devices, "devices", cage_.says("devices"), bound, "devices", allowed);
}

/// A layer that the parent insists on holds what it invokes, too.
void Container::hold_require() {
    if (!bounds_.require) return;
    auto& layers = cage_.policy.require;
    const auto& most = bounds_.require.cage->policy;
    for (std::size_t i = 0; i < most.require.size(); ++i) {
        if (std::ranges::find(layers, most.require[i]) != layers.end()) continue;
        cage_.policy.origins[fmt::format("require[{}]", layers.size())] =
            volary::origin_of(most.origins, fmt::format("require[{}]", i));
        layers.push_back(most.require[i]);
    }
}

void Container::hold_disabled() {
    const auto& bound = bounds_.caged;
    if (!bound || !cage_.policy.disabled) return;
    const auto at = said("disabled");
    report_.add(
        at.mark, at.path,
        fmt::format("\"{}\" has a cage, and this agent would have none", bound.agent),
        "a cage never exceeds its parent's, unless it says { disabled: true, detached: true }"
    );
}

}  // namespace

std::string containment_hint(const Bound& bound) {
    return fmt::format(
        "a cage never exceeds its parent's: change \"{}\", or write detached: true in this cage",
        bound.agent
    );
}

void contain(
    BuiltCage& cage, const CageBounds& bounds, const ProjectFolder& folder, Report& report
) {
    if (cage.policy.detached) return;
    Container container(cage, bounds, report);
    container.hold_disabled();
    if (cage.policy.disabled) return;
    if (bounds.fs) contain_fs(cage, bounds.fs, folder, report);
    container.hold_net();
    container.hold_limits();
    container.hold_seccomp();
    container.hold_devices();
    container.hold_require();
}

CageBounds bounds_below(const BuiltCage& cage, const std::string& agent, const CageBounds& above) {
    auto out = cage.policy.detached ? CageBounds{} : above;
    // A cage that is off says nothing about those below; what holds it goes on to hold them.
    if (!cage.own_cage || cage.policy.disabled) return out;
    const Bound here{&cage, agent};
    out.caged = here;
    if (cage.says("fs")) out.fs = here;
    if (cage.says("net.allow")) out.net = here;
    if (cage.says("seccomp")) out.seccomp = here;
    if (cage.says("devices")) out.devices = here;
    if (cage.says("require")) out.require = here;
    const auto& limits = cage.policy.limits;
    const auto bound = [&](const std::string& name, bool there) {
        if (there && cage.says("limits." + name)) out.limits[name] = here;
    };
    bound("memory", limits.memory.has_value());
    bound("swap", limits.swap.has_value());
    bound("cpu", limits.cpu.has_value());
    bound("pids", limits.pids.has_value());
    bound("wall", limits.wall.has_value());
    bound("disk", limits.disk.has_value());
    bound("files", limits.files.has_value());
    bound("output", limits.output.has_value());
    return out;
}

}  // namespace volary::dsl
