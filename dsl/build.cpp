// SPDX-License-Identifier: Apache-2.0
#include "dsl/build.hpp"

#include "base/bytes.hpp"
#include "dsl/contain.hpp"
#include "dsl/grammar.hpp"
#include "dsl/merge.hpp"
#include "dsl/scalars.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

std::optional<std::uint32_t> count_of(const Node& agent, std::string_view key) {
    const auto* value = agent.find(key);
    if (value == nullptr || !value->is(Node::Kind::integer)) return std::nullopt;
    return static_cast<std::uint32_t>(value->number);
}

std::string text_or_empty(const Node& node, std::string_view key) {
    const auto* value = node.find(key);
    return value != nullptr && value->is(Node::Kind::text) ? value->text : std::string();
}

/// False also for a runner that was refused: what it would need is not known.
bool is_builtin(const Node& agent) {
    const auto* runner = agent.find("runner");
    return runner == nullptr || runner->is(Node::Kind::text);
}

/// Every agent gets a copy of cage_defaults: without a bound on the sum, a small file with many
/// agents and many default rules would need gigabytes.
constexpr std::size_t kMaxRulesOfAllCages = 32'768;

class AgentBuilder {
public:
    AgentBuilder(
        const Node* cage_defaults, const ProjectFolder& folder, const CageCeiling* ceiling,
        Report& report
    )
        : cage_defaults_(cage_defaults), folder_(folder), ceiling_(ceiling), report_(report) {}

    /// `where` is the key path, `parent` null for the primary; `bounds` hold its cage.
    Agent build(
        Node& node, std::string name, const std::string& where, const Agent* parent,
        const CageBounds& bounds
    );

private:
    void read_model(Node& node, const std::string& where, Agent& agent, const Agent* parent);
    void read_runner(const Node& node, Agent& agent);
    void read_prompt(const Node& node, const std::string& where, Agent& agent);
    BuiltCage read_cage(Node& node, const std::string& below);
    void hold_cage(
        BuiltCage& cage, const Node& node, const std::string& below, const CageBounds& bounds
    );
    void read_tools(const Node& node, Agent& agent);
    void read_signals(const Node& node, const std::string& where, Agent& agent);

    const Node* cage_defaults_;
    const ProjectFolder& folder_;
    const CageCeiling* ceiling_;
    Report& report_;
    /// The `model` value that the agent being built inherits, for show_origin().
    const Node* inherited_model_ = nullptr;
    std::size_t rules_ = 0;  // Of all cages so far.
};

Agent AgentBuilder::build(
    Node& node, std::string name, const std::string& where, const Agent* parent,
    const CageBounds& bounds
) {
    Agent agent;
    agent.name = std::move(name);
    agent.path = parent == nullptr ? agent.name : parent->path + "/" + agent.name;
    if (!node.is(Node::Kind::mapping)) return agent;
    agent.description = text_or_empty(node, "description");
    read_runner(node, agent);
    read_model(node, where, agent, parent);
    read_prompt(node, where, agent);
    auto cage = read_cage(node, join_key(where, "cage"));
    hold_cage(cage, node, join_key(where, "cage"), bounds);
    agent.cage = cage.policy;
    if (const auto* env = node.find("env")) {
        for (const auto& member : env->members) agent.cage.env[member.key] = member.value.text;
    }
    read_tools(node, agent);
    read_signals(node, where, agent);
    agent.max_steps = count_of(node, "max_steps");
    agent.max_output_tokens = count_of(node, "max_output_tokens");
    agent.max_parallel = count_of(node, "max_parallel");
    agent.timeout = parse_duration(text_or_empty(node, "timeout"));
    auto* children = node.find("subagents");
    if (children == nullptr || !children->is(Node::Kind::mapping)) return agent;
    // A copy: the children's nodes and this one's may move while they are built.
    std::optional<Node> model;
    if (const auto* own = node.find("model")) model = *own;
    const auto below_bounds = bounds_below(cage, agent.path, bounds);
    for (auto& [key, mark, value] : children->members) {
        inherited_model_ = model ? &*model : nullptr;
        const auto below = join_key(join_key(where, "subagents"), key);
        agent.subagents.push_back(build(value, key, below, &agent, below_bounds));
    }
    return agent;
}

void AgentBuilder::read_model(
    Node& node, const std::string& where, Agent& agent, const Agent* parent
) {
    const auto* own = node.find("model");
    if (own == nullptr && inherited_model_ != nullptr) {
        node.members.push_back({"model", inherited_model_->mark, *inherited_model_});
    }
    if (own == nullptr && parent != nullptr) {
        agent.model = parent->model;
        agent.models = parent->models;
    } else if (own != nullptr && own->is(Node::Kind::text)) {
        agent.models = {own->text};
    } else if (own != nullptr) {
        for (const auto& item : own->items) agent.models.push_back(item.text);
    }
    if (!agent.models.empty()) agent.model = agent.models.front();
    const bool wanted = is_builtin(node);
    const bool told = own != nullptr || inherited_model_ != nullptr;
    if (agent.models.empty() && wanted && !told) {
        report_.add(
            node.mark, where,
            "key \"model\" is missing here and above: the builtin runner needs it",
            "expected a model alias such as smart"
        );
    }
}

void AgentBuilder::read_runner(const Node& node, Agent& agent) {
    const auto* runner = node.find("runner");
    if (runner == nullptr || !runner->is(Node::Kind::mapping)) return;
    constexpr std::array kinds{
        std::pair{std::string_view("acp"), Runner::Kind::acp},
        std::pair{std::string_view("exec"), Runner::Kind::exec},
        std::pair{std::string_view("pty"), Runner::Kind::pty}
    };
    for (const auto& [key, kind] : kinds) {
        const auto* argv = runner->find(key);
        if (argv == nullptr) continue;
        agent.runner.kind = kind;
        for (const auto& item : argv->items) agent.runner.argv.push_back(item.text);
    }
}

void AgentBuilder::read_prompt(const Node& node, const std::string& where, Agent& agent) {
    const auto* prompt = node.find("system_prompt");
    if (prompt == nullptr) {
        if (!is_builtin(node)) return;
        report_.add(
            node.mark, where, "key \"system_prompt\" is missing: the builtin runner needs it",
            "expected a path such as project:/prompts/" + agent.name + ".md"
        );
        return;
    }
    if (!prompt->is(Node::Kind::text)) return;
    const auto below = join_key(where, "system_prompt");
    const auto place = folder_.resolve(prompt->text, ProjectFolder::Want::file);
    if (!place) {
        report_.add(prompt->mark, below, place.error().message, place.error().hint);
        return;
    }
    const auto text = folder_.read(place->relative, kMaxPromptBytes);
    if (!text) {
        report_.add(
            prompt->mark, below, fmt::format("\"{}\": {}", place->relative, text.error().message),
            text.error().hint
        );
    } else if (*text && (!is_utf8(**text) || (*text)->find('\0') != std::string::npos)) {
        report_.add(prompt->mark, below, fmt::format("\"{}\" is not UTF-8 text", place->relative));
    }
    agent.system_prompt = place->source;
}

BuiltCage AgentBuilder::read_cage(Node& node, const std::string& below) {
    auto* own = node.find("cage");
    if (rules_ > kMaxRulesOfAllCages) return {};
    BuiltCage built;
    if (own != nullptr && own->is(Node::Kind::text)) {
        built = build_cage(nullptr, nullptr, below, folder_, report_);
        built.policy.disabled = true;
        built.keys["disabled"] = {own->mark, below};
    } else if (own != nullptr && own->is(Node::Kind::mapping)) {
        const auto alone = *own;
        if (cage_defaults_ != nullptr) *own = merge_cage(*cage_defaults_, *own);
        built = build_cage(own, &alone, below, folder_, report_);
    } else {
        built = build_cage(cage_defaults_, nullptr, below, folder_, report_);
        if (own == nullptr && cage_defaults_ != nullptr) {
            node.members.push_back({"cage", cage_defaults_->mark, *cage_defaults_});
        }
    }
    return built;
}

/// Gives the cage what it leaves open, and holds it to its parent's and to the ceiling.
void AgentBuilder::hold_cage(
    BuiltCage& cage, const Node& node, const std::string& below, const CageBounds& bounds
) {
    fill_limits(cage.policy.limits, ceiling_ != nullptr ? *ceiling_ : CageCeiling{});
    contain(cage, bounds, folder_, report_);
    const auto* at = node.find("cage");
    const Said whole{at != nullptr ? at->mark : node.mark, below};
    if (ceiling_ != nullptr) hold_to_ceiling(cage, *ceiling_, whole, report_);
    const auto& policy = cage.policy;
    rules_ += policy.fs.size() + policy.net.size() + policy.origins.size();
    if (rules_ <= kMaxRulesOfAllCages) return;
    report_.add(
        node.mark, below,
        fmt::format("all cages together have more than {} rules", kMaxRulesOfAllCages),
        "shorten cage_defaults"
    );
}

void AgentBuilder::read_tools(const Node& node, Agent& agent) {
    const auto* tools = node.find("tools");
    if (tools == nullptr) return;
    for (const auto& [name, mark, value] : tools->members) {
        // Null says nothing: the tool stays as it would be without the entry.
        if (!value.is(Node::Kind::mapping)) continue;
        ToolRule rule;
        const auto* enabled = value.find("enabled");
        if (enabled != nullptr && enabled->is(Node::Kind::boolean)) rule.enabled = enabled->boolean;
        rule.description = text_or_empty(value, "description");
        agent.tools[name] = std::move(rule);
    }
}

void AgentBuilder::read_signals(const Node& node, const std::string& where, Agent& agent) {
    const auto* signals = node.find("signals");
    if (signals == nullptr) return;
    for (std::size_t i = 0; i < signals->items.size(); ++i) {
        const auto& item = signals->items[i];
        if (!item.is(Node::Kind::text)) continue;
        if (std::ranges::find(agent.signals, item.text) != agent.signals.end()) {
            report_.add(
                item.mark, join_index(join_key(where, "signals"), i),
                fmt::format("signal \"{}\" is listed twice", item.text)
            );
            continue;
        }
        agent.signals.push_back(item.text);
    }
}

/// What would open every cage of the project at once is said where it is meant.
void refuse_own_words(const BuiltCage& defaults, Report& report) {
    for (const auto* key : {"detached", "disabled"}) {
        const auto said = defaults.keys.find(key);
        if (said == defaults.keys.end()) continue;
        report.add(
            said->second.mark, said->second.path,
            fmt::format("\"{}\" cannot be a default of all cages", key),
            "say it in the cage of the agent that needs it"
        );
    }
}

}  // namespace

Project build_project(
    Node& root, const ProjectFolder& folder, const CageCeiling* ceiling, Report& report
) {
    Project project;
    project.root = folder.root();
    project.name = text_or_empty(root, "project");
    project.description = text_or_empty(root, "description");
    const auto* found = root.find("cage_defaults");
    std::optional<Node> defaults;
    if (found != nullptr && found->is(Node::Kind::mapping)) {
        defaults = *found;
        // Once on its own, so that its problems are told at its own key path.
        const auto built = build_cage(&*defaults, nullptr, "cage_defaults", folder, report);
        refuse_own_words(built, report);
    }
    auto* primary = root.find("primary");
    if (primary == nullptr || !primary->is(Node::Kind::mapping)) return project;
    AgentBuilder builder(defaults ? &*defaults : nullptr, folder, ceiling, report);
    project.primary = builder.build(*primary, "primary", "primary", nullptr, {});
    const auto* rules = root.find("interconnect");
    if (rules != nullptr && rules->is(Node::Kind::sequence)) {
        build_interconnect(*rules, project, report);
    }
    return project;
}

}  // namespace volary::dsl
