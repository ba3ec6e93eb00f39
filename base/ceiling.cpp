// SPDX-License-Identifier: Apache-2.0
#include "base/ceiling.hpp"

#include "base/units.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace volary {
namespace {

std::string words(ByteCount size) { return format_size(size); }
std::string words(std::chrono::milliseconds time) { return format_duration(time); }
std::string words(double number) { return fmt::format("{}", number); }
std::string words(std::uint32_t number) { return fmt::format("{}", number); }

class Finder {
public:
    Finder(const CagePolicy& policy, const CageCeiling& ceiling)
        : policy_(policy), ceiling_(ceiling) {}

    std::vector<Excess> find() {
        if (policy_.disabled) {
            // It is under no limit at all, so the switch is the only bound that means something.
            if (!ceiling_.disabled_allowed)
                tell("disabled", "the operator's ceiling has no agent without a cage");
            return std::move(found_);
        }
        for (std::size_t i = 0; i < policy_.net.size(); ++i) rule(policy_.net[i], i);
        limits();
        if (policy_.seccomp == SeccompProfile::relaxed && !ceiling_.relaxed_allowed)
            tell("seccomp", "relaxed: the operator's ceiling allows the default profile only");
        calls();
        if (ceiling_.backends && !lists(*ceiling_.backends, policy_.backend))
            tell(
                "backend", fmt::format(
                               "{}: the operator's ceiling allows {}", to_string(policy_.backend),
                               joined_backends()
                           )
            );
        for (std::size_t i = 0; i < policy_.devices.size(); ++i) {
            if (lists(ceiling_.devices, policy_.devices[i])) continue;
            tell(
                fmt::format("devices[{}]", i),
                fmt::format(
                    "\"{}\": the operator's ceiling allows {}", policy_.devices[i],
                    ceiling_.devices.empty() ? "no device"
                                             : fmt::format("{}", fmt::join(ceiling_.devices, ", "))
                )
            );
        }
        return std::move(found_);
    }

private:
    template <class T>
    static bool lists(const std::vector<T>& all, const T& one) {
        return std::ranges::find(all, one) != all.end();
    }

    static bool lies_within(const std::vector<NetRule>& bounds, const NetRule& rule) {
        return std::ranges::any_of(bounds, [&](const NetRule& bound) {
            return covers_target(bound, rule);
        });
    }

    void tell(std::string key, std::string message, std::string origin = {}) {
        if (origin.empty()) origin = origin_of(policy_.origins, key);
        found_.push_back({std::move(key), std::move(message), std::move(origin)});
    }

    void rule(const NetRule& rule, std::size_t index) {
        const auto key = fmt::format("net[{}]", index);
        if (ceiling_.net && !lies_within(*ceiling_.net, rule))
            tell(
                key, fmt::format("\"{}\" is not in the net of the operator's ceiling", rule.text),
                rule.origin
            );
        if (rule.allow_private && !ceiling_.private_allowed)
            tell(
                key,
                fmt::format(
                    "\"{}\" is private: the operator's ceiling allows no private addresses",
                    rule.text
                ),
                rule.origin
            );
        if (rule.credential.empty() || !ceiling_.credentials) return;
        const auto known = ceiling_.credentials->find(rule.credential);
        if (known == ceiling_.credentials->end()) {
            tell(
                key,
                fmt::format(
                    "credential \"{}\": the operator's config gives projects no such one",
                    rule.credential
                ),
                rule.origin
            );
        } else if (!lies_within(known->second, rule)) {
            tell(
                key,
                fmt::format(
                    "credential \"{}\" is not for \"{}\": the operator's config says where "
                    "it may go",
                    rule.credential, rule.text
                ),
                rule.origin
            );
        }
    }

    template <class T>
    void limit(std::string_view name, const std::optional<T>& asked, const std::optional<T>& most) {
        if (!asked || !most || !(*most < *asked)) return;
        tell(
            fmt::format("limits.{}", name),
            fmt::format("{}: the operator's ceiling is {}", words(*asked), words(*most))
        );
    }

    void limits() {
        const auto& asked = policy_.limits;
        const auto& most = ceiling_.limits;
        limit("memory", asked.memory, most.memory);
        limit("swap", asked.swap, most.swap);
        limit("cpu", asked.cpu, most.cpu);
        limit("pids", asked.pids, most.pids);
        limit("wall", asked.wall, most.wall);
        limit("disk", asked.disk, most.disk);
        limit("files", asked.files, most.files);
        limit("output", asked.output, most.output);
    }

    void calls() {
        if (!ceiling_.seccomp_add) return;
        for (std::size_t i = 0; i < policy_.seccomp_add.size(); ++i) {
            if (lists(*ceiling_.seccomp_add, policy_.seccomp_add[i])) continue;
            tell(
                fmt::format("seccomp.add[{}]", i),
                fmt::format(
                    "\"{}\" is not in the seccomp_add of the operator's ceiling",
                    policy_.seccomp_add[i]
                )
            );
        }
    }

    std::string joined_backends() const {
        std::vector<std::string_view> names;
        for (const auto backend : *ceiling_.backends) names.push_back(to_string(backend));
        return fmt::format("{}", fmt::join(names, ", "));
    }

    const CagePolicy& policy_;
    const CageCeiling& ceiling_;
    std::vector<Excess> found_;
};

template <class T>
void fill(std::optional<T>& limit, const std::optional<T>& usual, const std::optional<T>& most) {
    if (limit) return;
    limit = usual;
    if (most && (!limit || *most < *limit)) limit = most;
}

}  // namespace

std::vector<Excess> find_excess(const CagePolicy& policy, const CageCeiling& ceiling) {
    return Finder(policy, ceiling).find();
}

std::vector<std::string> exceeding(const CagePolicy& policy, const CageCeiling& ceiling) {
    std::vector<std::string> out;
    for (const auto& [key, message, origin] : find_excess(policy, ceiling)) {
        const auto place = origin.empty() ? std::string() : origin + ": ";
        out.push_back(fmt::format("{}{}: {}", place, key, message));
    }
    return out;
}

void fill_limits(CageLimits& limits, const CageCeiling& ceiling) {
    const auto usual = default_limits();
    const auto& most = ceiling.limits;
    fill(limits.memory, usual.memory, most.memory);
    fill(limits.cpu, usual.cpu, most.cpu);
    fill(limits.pids, usual.pids, most.pids);
    fill(limits.wall, usual.wall, most.wall);
    fill(limits.disk, usual.disk, most.disk);
    fill(limits.files, usual.files, most.files);
    fill(limits.output, usual.output, most.output);
}

}  // namespace volary
