// SPDX-License-Identifier: Apache-2.0
#include "dsl/edit.hpp"

#include "dsl/edit_text.hpp"
#include "dsl/grammar.hpp"
#include "dsl/net_rule.hpp"
#include "dsl/validate.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

using Result = std::expected<FileEdit, std::string>;
using Kind = Node::Kind;

constexpr std::string_view kFile = ".volary/project.yaml";
constexpr std::string_view kWorkspace = "/workspace";

std::unexpected<std::string> fail(std::string message) {
    return std::unexpected(std::move(message));
}

/// The same value, wherever and however it is written; keys in any order.
bool same(const Node& a, const Node& b) {
    if (a.kind != b.kind || a.items.size() != b.items.size() ||
        a.members.size() != b.members.size())
        return false;
    if (a.items.empty() && a.members.empty() && a.text != b.text) return false;
    for (std::size_t i = 0; i < a.items.size(); ++i)
        if (!same(a.items[i], b.items[i])) return false;
    return std::ranges::all_of(a.members, [&](const Member& member) {
        const auto* other = b.find(member.key);
        return other != nullptr && same(member.value, *other);
    });
}

Node parse_value(const std::string& flow) { return parse_yaml(flow, 0).root; }

const std::string* text_in(const Node& map, std::string_view key) {
    const auto* value = map.find(key);
    return value != nullptr && value->is(Kind::text) ? &value->text : nullptr;
}

/// The mapping of the agent, the one that holds it, and the agents above, the nearest last.
struct Found {
    Node* agent = nullptr;
    Node* parent = nullptr;
    std::vector<const Node*> above;
};

Found find_agent_node(Node& root, std::string_view path) {
    Found found{root.find("primary"), &root, {}};
    constexpr std::string_view primary = "primary";
    if (!path.starts_with(primary)) return {};
    path.remove_prefix(primary.size());
    while (found.agent != nullptr && !path.empty()) {
        if (path.front() != '/') return {};
        path.remove_prefix(1);
        const auto name = path.substr(0, path.find('/'));
        path.remove_prefix(name.size());
        found.above.push_back(found.agent);
        found.parent = found.agent->find("subagents");
        found.agent = found.parent == nullptr ? nullptr : found.parent->find(name);
    }
    return found.agent != nullptr && found.agent->is(Kind::mapping) ? found : Found{};
}

/// What is added, and how it meets what is there.
struct Addition {
    std::vector<std::string> keys;  ///< below `cage`: {"net", "allow"} or {"fs"}
    std::string entry;              ///< in flow style
    /// What a list must begin with where the agent had none.
    std::vector<std::string> usual;
    /// Nothing: `item` is about something else. Else the new text of one of its values.
    struct Meeting {
        const Node* value = nullptr;  ///< what is replaced; null: `member` is added to the item
        std::string text;
        std::string problem;  ///< not empty: it cannot be done
        NewValue member;
        std::string key;
    };
    std::optional<Meeting> (*meets)(const Node& item, const Node& entry) = nullptr;
};

std::optional<NetRule> rule_of(const Node& item) {
    const auto* text = item.is(Kind::text) ? &item.text : text_in(item, "to");
    if (text == nullptr) return std::nullopt;
    auto rule = parse_net_rule(*text);
    return rule ? std::optional(std::move(*rule)) : std::nullopt;
}

std::string already(const Node& item) {
    return fmt::format("it is there already, in line {}", item.mark.line);
}

std::optional<Addition::Meeting> meets_net(const Node& item, const Node& entry) {
    const auto a = rule_of(item);
    const auto b = rule_of(entry);
    if (!a || !b || a->kind != b->kind || a->host != b->host || a->port != b->port)
        return std::nullopt;
    Addition::Meeting out;
    const bool plain = entry.is(Kind::text) || entry.members.size() == 1;
    if (same(item, entry) || (item.is(Kind::text) && plain)) {
        out.problem = already(item);
    } else if (item.is(Kind::text)) {
        out.value = &item;
        out.text = to_flow(entry);
    } else {
        // The one thing that a grant adds to a rule; whatever else it says stays.
        auto rest = entry;
        std::erase_if(rest.members, [&](const Member& member) {
            const auto* there = item.find(member.key);
            return member.key == "to" || member.key == "private" ||
                   (there != nullptr && same(*there, member.value));
        });
        const auto* wanted = entry.find("private");
        const auto* open = item.find("private");
        if (wanted == nullptr || !rest.members.empty() || (open != nullptr && open->boolean)) {
            out.problem = fmt::format(
                "line {} allows it under other conditions: change them by hand", item.mark.line
            );
        } else if (open != nullptr) {
            out.value = open;
            out.text = "true";
        } else {
            out.key = "private";
            out.member.flow = "true";
        }
    }
    return out;
}

std::optional<Addition::Meeting> meets_fs(const Node& item, const Node& entry) {
    for (const auto* key : {"path", "at"}) {
        const auto* a = item.find(key);
        const auto* b = entry.find(key);
        if ((a == nullptr) != (b == nullptr)) return std::nullopt;
        if (a != nullptr && !same(*a, *b)) return std::nullopt;
    }
    Addition::Meeting out;
    out.value = item.find("mode");
    out.text = *text_in(entry, "mode");
    if (out.value == nullptr || out.value->text == out.text) out.problem = already(item);
    return out;
}

class Editor {
public:
    Editor(std::string_view text, const Addition& addition) : text_(text), addition_(addition) {}

    Result run(std::string_view agent_path) {
        auto parsed = parse_yaml(text_, 0);
        if (!parsed.complete || !parsed.problems.empty()) {
            const auto& problem = parsed.problems.front();
            return fail(fmt::format("line {}: {}", problem.mark.line, problem.message));
        }
        root_ = std::move(parsed.root);
        found_ = find_agent_node(root_, agent_path);
        if (found_.agent == nullptr)
            return fail(fmt::format("the file has no agent \"{}\"", agent_path));
        entry_ = parse_value(addition_.entry);
        const auto change = choose();
        if (!change) return fail(change.error());
        return finish(EditedText(text_).apply(*change));
    }

private:
    EditedText::Result choose();
    EditedText::Result add_to_list(Node& list);
    EditedText::Result add_keys(Node& map, std::size_t depth);
    NewValue new_value(std::size_t depth, const std::string& step) const;
    std::vector<std::string> first_items() const;
    Result finish(std::string text) const;

    std::string_view text_;
    const Addition& addition_;
    Node root_;  // Becomes what the new text must say.
    Found found_;
    Node entry_;
};

/// Also does to `root_` what the change does to the text.
EditedText::Result Editor::choose() {
    auto* map = found_.agent->find("cage");
    if (map == nullptr) return add_keys(*found_.agent, 0);
    if (map->is(Kind::text)) return fail("the agent has no cage: there is nothing to allow");
    if (const auto* off = map->find("disabled"); off != nullptr && off->boolean)
        return fail("the agent has no cage: there is nothing to allow");
    for (std::size_t i = 0; i < addition_.keys.size(); ++i) {
        if (!map->is(Kind::mapping))
            return fail(fmt::format("line {}: expected a map", map->mark.line));
        auto* next = map->find(addition_.keys[i]);
        if (next == nullptr) return add_keys(*map, i + 1);
        map = next;
    }
    if (map->is(Kind::sequence)) return add_to_list(*map);
    return fail(fmt::format(
        "line {}: \"{}\" is no list: write one there", map->mark.line, addition_.keys.back()
    ));
}

EditedText::Result Editor::add_to_list(Node& list) {
    const EditedText text(text_);
    for (auto& item : list.items) {
        const auto meeting = addition_.meets(item, entry_);
        if (!meeting) continue;
        if (!meeting->problem.empty()) return fail(meeting->problem);
        if (meeting->value != nullptr) {
            auto change = text.replace(*meeting->value, meeting->text);
            const_cast<Node&>(*meeting->value) = parse_value(meeting->text);
            return change;
        }
        auto change = text.append_member(item, meeting->key, meeting->member, {});
        item.members.push_back({meeting->key, {}, parse_value(meeting->member.flow)});
        return change;
    }
    auto change = text.append_item(list, addition_.entry);
    list.items.push_back(entry_);
    return change;
}

/// `map` is the agent (depth 0), its cage (1) or its cage's net (2), and lacks the next key.
EditedText::Result Editor::add_keys(Node& map, std::size_t depth) {
    const auto step = EditedText::step(*found_.parent, *found_.agent);
    const auto key = depth == 0 ? std::string("cage") : addition_.keys[depth - 1];
    const auto value = new_value(depth, step);
    auto change = EditedText(text_).append_member(map, key, value, "subagents");
    map.members.push_back({key, {}, parse_value(value.flow)});
    return change;
}

NewValue Editor::new_value(std::size_t depth, const std::string& step) const {
    const auto items = first_items();
    NewValue out;
    out.flow = fmt::format("[{}]", fmt::join(items, ", "));
    if (items.size() > 1)
        for (const auto& item : items) out.lines.push_back(fmt::format("{}- {}", step, item));
    for (auto i = addition_.keys.size(); i > depth; --i) {
        const auto& key = addition_.keys[i - 1];
        std::vector<std::string> lines;
        if (!out.lines.empty()) lines.push_back(fmt::format("{}{}:", step, key));
        for (const auto& line : out.lines) lines.push_back(step + line);
        out.lines = std::move(lines);
        const auto entry = fmt::format("{}: {}", key, out.flow);
        if (out.lines.empty() && i == 1) out.lines.push_back(step + entry);
        out.flow = fmt::format("{{ {} }}", entry);
    }
    return out;
}

/// The list below `keys` in a cage; null when there is none.
const Node* list_in(const Node* cage, const std::vector<std::string>& keys) {
    for (const auto& key : keys)
        if (cage != nullptr) cage = cage->find(key);
    return cage != nullptr && cage->is(Kind::sequence) ? cage : nullptr;
}

/// What the agent has without a list of its own, which would replace it; then what is added.
std::vector<std::string> Editor::first_items() const {
    const auto* list = list_in(root_.find("cage_defaults"), addition_.keys);
    // An agent that says nothing of its folders has those of the nearest one above that does.
    if (!addition_.usual.empty()) {
        for (const auto* agent : found_.above)
            if (const auto* there = list_in(agent->find("cage"), addition_.keys)) list = there;
    }
    std::vector<std::string> out;
    if (list == nullptr) {
        out = addition_.usual;
    } else {
        for (const auto& item : list->items) out.push_back(to_flow(item));
    }
    out.push_back(addition_.entry);
    return out;
}

Result Editor::finish(std::string text) const {
    auto parsed = parse_yaml(text, 0);
    if (!parsed.complete || !parsed.problems.empty())
        return fail("the file is written in a way that cannot be edited safely");
    if (!same(parsed.root, root_))
        return fail("the file is written in a way that cannot be edited safely");
    Report report;
    report.add_file(std::string(kFile));
    validate(parsed.root, project_type(), {}, report);
    const auto problems = report.take();
    if (!problems.empty()) return fail("the result would be refused: " + problems.front().text());
    auto diff = unified_diff(text_, text, kFile);
    return FileEdit{std::move(text), std::move(diff)};
}

std::string net_target(const NetRule& rule) {
    const auto* form = rule.host.find(':') == std::string::npos ? "{}{}:{}" : "{}[{}]:{}";
    const auto* below = rule.kind == NetRule::Kind::wildcard ? "*." : "";
    return fmt::format(fmt::runtime(form), below, rule.host, rule.port);
}

std::string list_text(const std::vector<std::string>& texts) {
    std::vector<std::string> quoted;
    quoted.reserve(texts.size());
    for (const auto& text : texts) quoted.push_back(quote(text));
    return fmt::format("[{}]", fmt::join(quoted, ", "));
}

}  // namespace

std::expected<FileEdit, std::string> add_net_rule(
    std::string_view file_text, std::string_view agent_path, const NetRule& rule
) {
    const auto target = net_target(rule);
    const auto read = parse_net_rule(target);
    if (!read || read->kind != rule.kind || read->host != rule.host)
        return fail(fmt::format("\"{}\" is no rule of a project file", target));
    std::string more;
    if (rule.allow_private) more += ", private: true";
    if (!rule.sni.empty()) more += ", sni: " + quote(rule.sni);
    if (!rule.credential.empty()) more += ", credential: " + quote(rule.credential);
    if (!rule.methods.empty()) more += ", methods: " + list_text(rule.methods);
    if (!rule.paths.empty()) more += ", paths: " + list_text(rule.paths);
    Addition addition;
    addition.keys = {"net", "allow"};
    addition.entry = fmt::format("\"{}\"", target);
    if (!more.empty()) addition.entry = fmt::format("{{ to: \"{}\"{} }}", target, more);
    addition.meets = meets_net;
    return Editor(file_text, addition).run(agent_path);
}

std::expected<FileEdit, std::string> add_fs_rule(
    std::string_view file_text, std::string_view agent_path, const FsRule& rule
) {
    std::vector<std::string> parts;
    std::string usual_target;
    if (!rule.source.empty()) {
        const bool inside =
            !rule.root.empty() && rule.source.starts_with(rule.root) &&
            (rule.source.size() == rule.root.size() || rule.source[rule.root.size()] == '/');
        if (!inside) return fail(fmt::format("\"{}\" is outside of the project", rule.source));
        const auto relative = rule.source.substr(rule.root.size());
        const auto path = "project:" + (relative.empty() ? "/" : relative);
        parts.push_back("path: " + quote(path));
        usual_target = std::string(kWorkspace) + relative;
    }
    parts.push_back(fmt::format("mode: {}", to_string(rule.mode)));
    if (rule.target != usual_target) parts.push_back("at: " + quote(rule.target));
    Addition addition;
    addition.keys = {"fs"};
    addition.entry = fmt::format("{{ {} }}", fmt::join(parts, ", "));
    addition.usual = {"{ path: project:/, mode: rw }"};
    addition.meets = meets_fs;
    return Editor(file_text, addition).run(agent_path);
}

}  // namespace volary::dsl
