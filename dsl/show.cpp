// SPDX-License-Identifier: Apache-2.0
#include "dsl/load.hpp"
#include "dsl/load_tree.hpp"
#include "dsl/scalars.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::dsl {
namespace {

using Ordered = nlohmann::ordered_json;

std::string dump(const Ordered& doc, int indent) {
    return doc.dump(indent, ' ', false, Ordered::error_handler_t::replace);
}

Ordered limits_json(const CageLimits& limits) {
    Ordered out = Ordered::object();
    if (limits.memory) out["memory"] = format_size(*limits.memory);
    if (limits.swap) out["swap"] = format_size(*limits.swap);
    if (limits.cpu) out["cpu"] = *limits.cpu;
    if (limits.pids) out["pids"] = *limits.pids;
    if (limits.wall) out["wall"] = format_duration(*limits.wall);
    if (limits.disk) out["disk"] = format_size(*limits.disk);
    if (limits.files) out["files"] = *limits.files;
    if (limits.output) out["output"] = format_size(*limits.output);
    return out;
}

std::string_view seccomp_word(const CagePolicy& cage) {
    return cage.seccomp == SeccompProfile::relaxed ? "relaxed" : "default";
}

/// As in the file: a word, or a map where there are changes.
Ordered seccomp_json(const CagePolicy& cage) {
    if (cage.seccomp_add.empty() && cage.seccomp_remove.empty()) return seccomp_word(cage);
    return {{"add", cage.seccomp_add}, {"remove", cage.seccomp_remove}};
}

Ordered ports_json(const CagePolicy& cage) {
    Ordered out = Ordered::array();
    for (const auto& port : cage.ports)
        out.push_back({{"name", port.name}, {"port", port.port}, {"public", port.is_public}});
    return out;
}

void add_requests(const NetRule& rule, Ordered& out) {
    if (!rule.methods.empty()) out["methods"] = rule.methods;
    if (!rule.paths.empty()) out["paths"] = rule.paths;
}

Ordered cage_json(const CagePolicy& cage) {
    Ordered rules = Ordered::array();
    for (const auto& rule : cage.fs) {
        rules.push_back({{"path", rule.source}, {"mode", to_string(rule.mode)}, {"at", rule.target}}
        );
    }
    Ordered allow = Ordered::array();
    for (const auto& rule : cage.net) {
        Ordered entry{{"to", rule.text}, {"port", rule.port}, {"private", rule.allow_private}};
        if (!rule.sni.empty()) entry["sni"] = rule.sni;
        if (!rule.credential.empty()) entry["credential"] = rule.credential;
        add_requests(rule, entry);
        allow.push_back(std::move(entry));
    }
    return {
        {"disabled", cage.disabled},
        {"detached", cage.detached},
        {"backend", to_string(cage.backend)},
        {"require", cage.require},
        {"workspace", cage.workspace},
        {"workspace_writable", cage.workspace_writable},
        {"fs", std::move(rules)},
        {"net", {{"allow", std::move(allow)}, {"ports", ports_json(cage)}}},
        {"limits", limits_json(cage.limits)},
        {"seccomp", seccomp_json(cage)},
        {"state", to_string(cage.state)},
        {"devices", cage.devices},
        {"env", cage.env}
    };
}

Ordered agent_json(const Agent& agent) {
    Ordered out{
        {"name", agent.name},
        {"path", agent.path},
        {"description", agent.description},
        {"model", agent.models},
        {"system_prompt", agent.system_prompt},
    };
    if (agent.runner.kind == Runner::Kind::builtin) {
        out["runner"] = "builtin";
    } else {
        out["runner"] = {{std::string(to_string(agent.runner.kind)), agent.runner.argv}};
    }
    Ordered tools = Ordered::object();
    for (const auto& [name, rule] : agent.tools) {
        tools[name] = {{"enabled", rule.enabled}};
        if (!rule.description.empty()) tools[name]["description"] = rule.description;
    }
    out["tools"] = std::move(tools);
    out["signals"] = agent.signals;
    if (agent.max_steps) out["max_steps"] = *agent.max_steps;
    if (agent.max_output_tokens) out["max_output_tokens"] = *agent.max_output_tokens;
    if (agent.max_parallel) out["max_parallel"] = *agent.max_parallel;
    if (agent.timeout) out["timeout"] = format_duration(*agent.timeout);
    out["cage"] = cage_json(agent.cage);
    Ordered children = Ordered::object();
    for (const auto& child : agent.subagents) children[child.name] = agent_json(child);
    out["subagents"] = std::move(children);
    return out;
}

Ordered rule_json(const InterconnectRule& rule) {
    Ordered out{{"on", rule.on}, {"from", rule.from}, {"invoke", rule.invoke}};
    if (!rule.dedupe.empty()) {
        out["dedupe"] = {{"by", rule.dedupe}};
        if (rule.dedupe_window) out["dedupe"]["window"] = format_duration(*rule.dedupe_window);
    }
    out["max_in_flight"] = rule.max_in_flight;
    out["max_depth"] = rule.max_depth;
    out["max_per_minute"] = rule.max_per_minute;
    out["on_limit"] = to_string(rule.on_limit);
    return out;
}

Ordered scalar_json(const Node& node) {
    switch (node.kind) {
        case Node::Kind::boolean:
            return node.boolean;
        case Node::Kind::integer:
            return static_cast<std::int64_t>(node.number);
        case Node::Kind::number:
            return node.number;
        case Node::Kind::text:
            return node.text;
        default:
            return nullptr;
    }
}

void collect_origins(
    const Node& node, const std::string& path, const Report& report, Ordered& out
) {
    if (node.is(Node::Kind::mapping) && !node.members.empty()) {
        for (const auto& member : node.members) {
            collect_origins(member.value, join_key(path, member.key), report, out);
        }
        return;
    }
    if (node.is(Node::Kind::sequence) && !node.items.empty()) {
        for (std::size_t i = 0; i < node.items.size(); ++i) {
            collect_origins(node.items[i], join_index(path, i), report, out);
        }
        return;
    }
    auto value = scalar_json(node);
    if (node.is(Node::Kind::mapping)) value = Ordered::object();
    if (node.is(Node::Kind::sequence)) value = Ordered::array();
    out[path] = {
        {"value", std::move(value)},
        {"origin", fmt::format("{}:{}", report.file(node.mark.file), node.mark.line)}
    };
}

}  // namespace

std::string show_json(const Project& project) {
    Ordered rules = Ordered::array();
    for (const auto& rule : project.interconnect) rules.push_back(rule_json(rule));
    const Ordered out{
        {"version", 1},
        {"project", project.name},
        {"description", project.description},
        {"root", project.root},
        {"file", project.file},
        {"primary", agent_json(project.primary)},
        {"interconnect", std::move(rules)}
    };
    return dump(out, 2) + "\n";
}

OriginResult show_origin(const std::filesystem::path& root) {
    Report report;
    OriginResult result;
    const auto tree = load_tree(root, nullptr, report);
    if (tree.project) {
        Ordered out = Ordered::object();
        collect_origins(tree.root, {}, report, out);
        result.json = dump(out, 2) + "\n";
    }
    result.diagnostics = report.take();
    return result;
}

std::string cage_words_json(const CagePolicy& policy) {
    Ordered hosts = Ordered::array();
    for (const auto& rule : policy.net) hosts.push_back(rule.text);
    Ordered folders = Ordered::array();
    if (!policy.workspace.empty()) {
        folders.push_back(
            {{"path", "/workspace"}, {"mode", policy.workspace_writable ? "rw" : "ro"}}
        );
    }
    for (const auto& rule : policy.fs) {
        folders.push_back({{"path", rule.target}, {"mode", to_string(rule.mode)}});
    }
    Ordered net = Ordered::array();
    for (const auto& rule : policy.net) {
        Ordered entry{
            {"rule", rule.text}, {"private", rule.allow_private}, {"credential", rule.credential}
        };
        add_requests(rule, entry);
        net.push_back(std::move(entry));
    }
    Ordered out{
        {"disabled", policy.disabled},
        {"hosts", std::move(hosts)},
        {"folders", std::move(folders)},
        {"limits", limits_json(policy.limits)},
        {"net", std::move(net)},
        {"seccomp", seccomp_word(policy)},
        {"state", to_string(policy.state)},
        {"backend", to_string(policy.backend)},
        {"devices", policy.devices},
        {"ports", ports_json(policy)}
    };
    if (!policy.seccomp_add.empty()) out["seccomp_add"] = policy.seccomp_add;
    if (!policy.seccomp_remove.empty()) out["seccomp_remove"] = policy.seccomp_remove;
    if (!policy.require.empty()) out["require"] = policy.require;
    if (policy.detached) out["detached"] = true;
    return dump(out, -1);
}

}  // namespace volary::dsl
