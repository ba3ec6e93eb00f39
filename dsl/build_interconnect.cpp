// SPDX-License-Identifier: Apache-2.0
#include "dsl/build.hpp"
#include "dsl/scalars.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

void flatten(const Agent& agent, std::vector<const Agent*>& out) {
    out.push_back(&agent);
    for (const auto& child : agent.subagents) flatten(child, out);
}

class RuleBuilder {
public:
    RuleBuilder(const Project& project, Report& report) : report_(report) {
        flatten(project.primary, agents_);
    }
    InterconnectRule build(const Node& node, const std::string& path);

private:
    const Agent* find(const Node& reference, const std::string& path);
    void check_signal(const Node& on, const std::string& path, const Agent* from);
    void read_dedupe(const Node& node, InterconnectRule& rule);
    void read_numbers(const Node& node, InterconnectRule& rule);

    std::vector<const Agent*> agents_;
    Report& report_;
};

const Agent* RuleBuilder::find(const Node& reference, const std::string& path) {
    const auto& wanted = reference.text;
    const auto exact = std::ranges::find(agents_, wanted, &Agent::path);
    if (exact != agents_.end()) return *exact;
    std::vector<const Agent*> named;
    std::ranges::copy_if(agents_, std::back_inserter(named), [&](const Agent* agent) {
        return agent->name == wanted;
    });
    if (named.size() == 1) return named.front();
    if (named.size() > 1) {
        report_.add(
            reference.mark, path,
            fmt::format("\"{}\" is the name of {} agents", wanted, named.size()),
            fmt::format("write the path, such as \"{}\"", named.front()->path)
        );
        return nullptr;
    }
    Suggestion suggestion(wanted);
    for (const auto* agent : agents_) {
        suggestion.offer(agent->name);
        suggestion.offer(agent->path);
    }
    report_.add(
        reference.mark, path, fmt::format("there is no agent \"{}\"", wanted), suggestion.hint()
    );
    return nullptr;
}

void RuleBuilder::check_signal(const Node& on, const std::string& path, const Agent* from) {
    const auto emits = [&](const Agent* agent) {
        return std::ranges::find(agent->signals, on.text) != agent->signals.end();
    };
    if (from != nullptr ? emits(from) : std::ranges::any_of(agents_, emits)) return;
    Suggestion suggestion(on.text);
    for (const auto* agent : agents_) {
        if (from != nullptr && agent != from) continue;
        for (const auto& signal : agent->signals) suggestion.offer(signal);
    }
    auto hint = suggestion.hint();
    if (hint.empty() && from != nullptr)
        hint = fmt::format("add it to the signals of \"{}\"", from->path);
    report_.add(
        on.mark, path,
        from != nullptr
            ? fmt::format("\"{}\" does not declare the signal \"{}\"", from->path, on.text)
            : fmt::format("no agent declares the signal \"{}\"", on.text),
        std::move(hint)
    );
}

void RuleBuilder::read_dedupe(const Node& node, InterconnectRule& rule) {
    const auto add = [&](const Node& pointer) {
        if (!pointer.is(Node::Kind::text)) return;
        if (auto parsed = parse_pointer(pointer.text)) rule.dedupe.push_back(std::move(*parsed));
    };
    if (node.is(Node::Kind::mapping)) {
        if (const auto* by = node.find("by")) read_dedupe(*by, rule);
        const auto* window = node.find("window");
        if (window != nullptr && window->is(Node::Kind::text)) {
            rule.dedupe_window = parse_duration(window->text);
        }
        return;
    }
    add(node);
    for (const auto& item : node.items) add(item);
}

void RuleBuilder::read_numbers(const Node& node, InterconnectRule& rule) {
    const auto read = [&](std::string_view key, std::uint32_t& out) {
        const auto* value = node.find(key);
        if (value == nullptr || !value->is(Node::Kind::integer)) return;
        out = static_cast<std::uint32_t>(value->number);
    };
    read("max_in_flight", rule.max_in_flight);
    read("max_depth", rule.max_depth);
    read("max_per_minute", rule.max_per_minute);
    const auto* action = node.find("on_limit");
    if (action != nullptr && action->text == "drop")
        rule.on_limit = InterconnectRule::OnLimit::drop;
}

InterconnectRule RuleBuilder::build(const Node& node, const std::string& path) {
    InterconnectRule rule;
    const auto* from = node.find("from");
    const auto* on = node.find("on");
    const auto* invoke = node.find("invoke");
    const Agent* source = nullptr;
    bool known = false;
    if (from != nullptr && from->is(Node::Kind::text)) {
        if (from->text != "*") source = find(*from, join_key(path, "from"));
        known = source != nullptr || from->text == "*";
        rule.from = source != nullptr ? source->path : "*";
    }
    if (on != nullptr && on->is(Node::Kind::text)) {
        rule.on = on->text;
        if (known) check_signal(*on, join_key(path, "on"), source);
    }
    if (invoke != nullptr && invoke->is(Node::Kind::text)) {
        if (const auto* target = find(*invoke, join_key(path, "invoke")))
            rule.invoke = target->path;
    }
    if (const auto* dedupe = node.find("dedupe")) read_dedupe(*dedupe, rule);
    read_numbers(node, rule);
    return rule;
}

}  // namespace

void build_interconnect(const Node& list, Project& project, Report& report) {
    RuleBuilder builder(project, report);
    for (std::size_t i = 0; i < list.items.size(); ++i) {
        if (!list.items[i].is(Node::Kind::mapping)) continue;
        project.interconnect.push_back(builder.build(list.items[i], join_index("interconnect", i)));
    }
}

}  // namespace volary::dsl
