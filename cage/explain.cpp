// SPDX-License-Identifier: Apache-2.0
#include "cage/explain.hpp"

#include "base/json_text.hpp"
#include "cage/mounts.hpp"
#include "cage/seccomp.hpp"

#include <array>

#include <fmt/format.h>

namespace volary::cage {
namespace {

CageSpec sample_spec(const CagePolicy& policy) {
    CageSpec spec;
    spec.policy = policy;
    spec.argv = {"COMMAND"};
    spec.init = "/usr/libexec/volary-init";
    return spec;
}

std::string_view word_of(Mount::Kind kind) {
    switch (kind) {
        case Mount::Kind::bind_ro:
            return "ro";
        case Mount::Kind::bind_rw:
            return "rw";
        case Mount::Kind::overlay:
            return "cow";
        case Mount::Kind::tmpfs:
            return "tmp";
        case Mount::Kind::hidden_folder:
        case Mount::Kind::hidden_file:
            return "hide";
        case Mount::Kind::proc:
        case Mount::Kind::dev:
            return "own";
    }
    return "own";
}

std::string limit_text(const CageLimits& limits) {
    std::string out;
    const auto add = [&](std::string_view name, const std::string& value) {
        out += fmt::format("  {:<8} {}\n", name, value);
    };
    add("memory", fmt::format("{} MiB", limits.memory->value >> 20U));
    add("pids", std::to_string(*limits.pids));
    add("files", std::to_string(*limits.files));
    add("disk", fmt::format("{} MiB of private folders and cow layers", limits.disk->value >> 20U));
    if (limits.swap) add("swap", fmt::format("{} MiB", limits.swap->value >> 20U));
    if (limits.output)
        add("output",
            fmt::format("{} KiB a second (not of `cage run`)", limits.output->value >> 10U));
    add("cpu", limits.cpu ? fmt::format("{}", *limits.cpu) : "unlimited");
    add("wall", limits.wall ? fmt::format("{} ms", limits.wall->count()) : "unlimited");
    return out;
}

std::string_view profile_name(SeccompProfile profile) {
    return profile == SeccompProfile::relaxed ? "relaxed" : "default";
}

/// A JSON array of what `each` renders.
template <class List, class Each>
std::string json_list(const List& items, Each each) {
    std::string out = "[";
    for (const auto& item : items) {
        if (out.size() > 1) out += ',';
        out += each(item);
    }
    return out + "]";
}

std::string json_limits(const CageLimits& limits) {
    return fmt::format(
        R"({{"memory":{},"pids":{},"files":{},"disk":{},"cpu":{},"wall_ms":{}}})",
        limits.memory->value, *limits.pids, *limits.files, limits.disk->value,
        limits.cpu ? fmt::format("{}", *limits.cpu) : "null",
        limits.wall ? std::to_string(limits.wall->count()) : "null"
    );
}

std::string json_mount(const Mount& mount) {
    return fmt::format(
        R"({{"target":{},"kind":"{}","source":{},"rule":{}}})", json_quote(mount.target),
        word_of(mount.kind), mount.source.empty() ? "null" : json_quote(mount.source),
        json_quote(mount.rule)
    );
}

std::string name_of(const std::string& entry) { return entry.substr(0, entry.find('=')); }

std::string seccomp_text(const SeccompRules& rules) {
    std::string out = fmt::format("system calls refused ({})\n", profile_name(rules.profile));
    for (const auto& group : refused_classes()) {
        if (group.relaxed && rules.profile == SeccompProfile::relaxed) continue;
        out += fmt::format("  {}: {}\n", group.name, group.reason);
    }
    if (!rules.add.empty())
        out += fmt::format("  but allowed by seccomp.add: {}\n", fmt::join(rules.add, ", "));
    if (!rules.remove.empty())
        out += fmt::format("  and by seccomp.remove: {}\n", fmt::join(rules.remove, ", "));
    return out;
}

std::string describe_mount(const Mount& mount, std::string_view path) {
    switch (mount.kind) {
        case Mount::Kind::bind_ro:
            return fmt::format(
                "{} is read-only: \"{}\" of the host is bound at {} ({})", path, mount.source,
                mount.target, mount.rule
            );
        case Mount::Kind::bind_rw:
            return fmt::format(
                "{} is writable: \"{}\" of the host is bound at {} ({})", path, mount.source,
                mount.target, mount.rule
            );
        case Mount::Kind::overlay:
            return fmt::format(
                "{} is writable in a layer: \"{}\" of the host, seen at {}, does not change until "
                "a "
                "change is kept ({})",
                path, mount.source, mount.target, mount.rule
            );
        case Mount::Kind::tmpfs:
            return fmt::format(
                "{} is in the private folder {} ({}): empty at start, gone at the end", path,
                mount.target, mount.rule
            );
        case Mount::Kind::hidden_folder:
        case Mount::Kind::hidden_file:
            return fmt::format(
                "{} is hidden: {} is empty and read-only ({})", path, mount.target, mount.rule
            );
        case Mount::Kind::proc:
        case Mount::Kind::dev:
            break;
    }
    return fmt::format("{} belongs to the cage itself", path);
}

}  // namespace

std::string explain_text(const CagePolicy& policy, const HostView& host) {
    if (policy.disabled) return "NO CAGE: the command runs as the daemon's own user, unconfined\n";
    const auto compiled = compile(sample_spec(policy), host);
    std::string out = "paths (all others are absent)\n";
    for (const auto& mount : compiled.mounts) {
        out += fmt::format("  {:<5}{:<28}", word_of(mount.kind), mount.target);
        if (!mount.source.empty()) out += fmt::format(" from {}", mount.source);
        out += fmt::format("  [{}]\n", mount.rule);
    }
    for (const auto& device : policy.devices) out += fmt::format("  dev  {}\n", device);
    if (!compiled.unheld.empty()) {
        out += "protected, but not there: told when made, not prevented\n ";
        for (const auto& path : compiled.unheld)
            out += " " + path.substr(policy.workspace.size() + 1);
        out += "\n";
    }
    out += policy.net.empty() ? "network\n  none\n" : "network (all else is refused)\n";
    for (const auto& rule : policy.net) out += fmt::format("  {}\n", rule.text);
    out += "limits\n" + limit_text(compiled.limits) + "environment\n ";
    for (const auto& entry : compiled.env) out += " " + name_of(entry);
    return out + "\n" + seccomp_text(seccomp_rules(policy));
}

std::string explain_json(const CagePolicy& policy, const HostView& host) {
    if (policy.disabled) return R"({"disabled":true})";
    const auto compiled = compile(sample_spec(policy), host);
    std::vector<std::string> argv;
    for (const auto& word : compiled.options) {
        auto text = to_text({word});
        text.pop_back();
        argv.push_back(std::move(text));
    }
    const auto rules = json_list(policy.net, [](const NetRule& r) { return json_quote(r.text); });
    const auto names = json_list(compiled.net.names, [](const NameEntry& n) {
        return fmt::format(
            R"({{"name":{},"v4":{},"v6":{}}})", json_quote(n.name), json_quote(n.fake_v4),
            json_quote(n.fake_v6)
        );
    });
    return fmt::format(
        R"({{"disabled":false,"mounts":{},"network":{{"rules":{},"names":{}}},"limits":{},"env":{},)"
        R"("seccomp":"{}","seccomp_add":{},"seccomp_remove":{},"argv":{}}})",
        json_list(compiled.mounts, json_mount), rules, names, json_limits(compiled.limits),
        json_list(compiled.env, [](const std::string& e) { return json_quote(name_of(e)); }),
        profile_name(policy.seccomp), json_list(policy.seccomp_add, json_quote),
        json_list(policy.seccomp_remove, json_quote),
        json_list(argv, [](const std::string& a) { return json_quote(a); })
    );
}

std::string explain_path(const CagePolicy& policy, std::string_view path, const HostView& host) {
    if (policy.disabled) return fmt::format("{} is as on the host: the cage is disabled", path);
    for (const std::string_view own : {"/proc", "/dev", "/.volary"})
        if (is_beneath(path, own)) return fmt::format("{} belongs to the cage itself", path);
    const auto mounts = plan_mounts(sample_spec(policy), host);
    for (const auto& absent : unheld_paths(policy.workspace, mounts, host)) {
        const auto inside = kWorkspace + absent.substr(policy.workspace.size());
        if (is_beneath(path, inside) || path == absent)
            return fmt::format(
                "{} is protected but not there: no mount can hold an absent name, so making it is "
                "told (layer \"planted\"), not prevented",
                path
            );
    }
    const Mount* found = nullptr;
    for (const auto& mount : mounts) {
        if (!is_beneath(path, mount.target)) continue;
        if (found == nullptr || mount.target.size() > found->target.size()) found = &mount;
    }
    if (found != nullptr) return describe_mount(*found, path);
    constexpr std::array kMade{
        "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"
    };
    for (const std::string_view made : kMade)
        if (path == made) return fmt::format("{} is written for the cage, read-only", path);
    for (const auto& mount : mounts)
        if (mount.source == path)
            return fmt::format(
                "{} of the host is at {} in the cage ({})", path, mount.target, mount.rule
            );
    return fmt::format(
        "{} is absent: no rule binds it; allow it with fs: [{{path: {}, mode: ro}}]", path, path
    );
}

}  // namespace volary::cage
