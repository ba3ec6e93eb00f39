// SPDX-License-Identifier: Apache-2.0
#include "dsl/validate.hpp"

#include "base/error.hpp"
#include "dsl/scalars.hpp"

#include <algorithm>
#include <map>
#include <regex.h>
#include <vector>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

constexpr std::size_t kMaxPatternText = 1024;  // No name or path of the table is longer.

/// POSIX extended expressions: glibc's engine is linear in the text and does not recurse, unlike
/// std::regex. The table keeps to what ECMA (the schema's dialect) reads the same way.
class Pattern {
public:
    explicit Pattern(std::string_view text) {
        if (::regcomp(&regex_, std::string(text).c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
            throw Error(Errc::internal, "bad pattern in the table: " + std::string(text));
        }
    }
    Pattern(const Pattern&) = delete;
    Pattern& operator=(const Pattern&) = delete;
    ~Pattern() { ::regfree(&regex_); }
    bool matches(const std::string& text) const {
        return ::regexec(&regex_, text.c_str(), 0, nullptr, 0) == 0;
    }

private:
    regex_t regex_{};
};

std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
}

std::string found(const Node& node) {
    switch (node.kind) {
        case Node::Kind::boolean:
        case Node::Kind::integer:
        case Node::Kind::number:
            return node.text;
        case Node::Kind::text:
            return "\"" + node.text.substr(0, 80) + "\"";
        default:
            return std::string(describe(node.kind));
    }
}

bool accepts(const Type& type, Node::Kind kind) {
    switch (type.kind) {
        case Type::Kind::object:
        case Type::Kind::map:
            return kind == Node::Kind::mapping;
        case Type::Kind::list:
            return kind == Node::Kind::sequence;
        case Type::Kind::either:
            return std::ranges::any_of(type.alternatives, [&](const Type* alternative) {
                return accepts(*alternative, kind);
            });
        case Type::Kind::later:
            return true;
        case Type::Kind::scalar:
            break;
    }
    switch (kind) {
        case Node::Kind::text:
            return type.accepts_text;
        case Node::Kind::integer:
            return type.accepts_integer || type.accepts_number;
        case Node::Kind::number:
            return type.accepts_number;
        case Node::Kind::boolean:
            return type.accepts_boolean;
        case Node::Kind::null:
            return type.accepts_null;
        default:
            return false;
    }
}

class Validator {
public:
    explicit Validator(Report& report) : report_(report) {}
    void check(Node& node, const Type& type, const std::string& path);

private:
    void check_scalar(Node& node, const Type& type, const std::string& path);
    void check_text(Node& node, const Type& type, const std::string& path);
    void check_object(Node& node, const Type& type, const std::string& path);
    void check_map(Node& node, const Type& type, const std::string& path);
    void check_list(Node& node, const Type& type, const std::string& path);
    void unknown_key(const Member& member, const Type& type, const std::string& path);
    bool too_deep(const Node& node, const Type& type, const std::string& path);
    void refuse(Node& node, const std::string& path, std::string message, std::string hint = {});
    void wrong_type(Node& node, const Type& type, const std::string& path);
    bool matches(std::string_view pattern, const std::string& text);

    Report& report_;
    std::map<std::string_view, Pattern> patterns_;
    std::size_t agents_ = 0;  // How many agents the node stands in.
};

void Validator::check(Node& node, const Type& type, const std::string& path) {
    if (node.is(Node::Kind::invalid)) return;
    if (type.kind == Type::Kind::later) {
        report_.add(node.mark, path, "not supported yet", "remove the key");
        node.kind = Node::Kind::invalid;
        return;
    }
    if (!accepts(type, node.kind)) {
        wrong_type(node, type, path);
        return;
    }
    switch (type.kind) {
        case Type::Kind::scalar:
            return check_scalar(node, type, path);
        case Type::Kind::object:
            return check_object(node, type, path);
        case Type::Kind::map:
            return check_map(node, type, path);
        case Type::Kind::list:
            return check_list(node, type, path);
        case Type::Kind::either: {
            const auto chosen = std::ranges::find_if(type.alternatives, [&](const Type* each) {
                return accepts(*each, node.kind);
            });
            return check(node, **chosen, path);
        }
        case Type::Kind::later:
            return;
    }
}

void Validator::wrong_type(Node& node, const Type& type, const std::string& path) {
    std::string hint;
    const bool scalar =
        node.is(Node::Kind::boolean) || node.is(Node::Kind::integer) || node.is(Node::Kind::number);
    if (type.check != nullptr) {
        if (auto problem = type.check(node)) hint = std::move(problem->hint);
    } else if (accepts(type, Node::Kind::text) && scalar) {
        hint = fmt::format("write it in quotes: \"{}\"", node.text);
    } else if (node.is(Node::Kind::text) && accepts(type, Node::Kind::boolean)) {
        if (node.text == "yes" || node.text == "on") hint = "write true";
        if (node.text == "no" || node.text == "off") hint = "write false";
    } else if (accepts(type, Node::Kind::sequence) && node.is(Node::Kind::text)) {
        hint = fmt::format("write [\"{}\"]", node.text);
    } else if (node.is(Node::Kind::null)) {
        hint = "give it a value or remove the key";
    }
    refuse(
        node, path, fmt::format("expected {}, found {}", type.expected, found(node)),
        std::move(hint)
    );
}

void Validator::check_scalar(Node& node, const Type& type, const std::string& path) {
    if (node.is(Node::Kind::text)) return check_text(node, type, path);
    if (!node.is(Node::Kind::integer) && !node.is(Node::Kind::number)) return;
    // A check of its own says it better than the bounds.
    if (type.check != nullptr) {
        if (auto problem = type.check(node)) {
            refuse(node, path, std::move(problem->message), std::move(problem->hint));
        }
        return;
    }
    if (node.number >= type.min && node.number <= type.max) return;
    refuse(
        node, path,
        fmt::format(
            "expected {} from {} to {}, found {}", type.expected, type.min, type.max, node.text
        )
    );
}

void Validator::check_text(Node& node, const Type& type, const std::string& path) {
    if (!type.words.empty()) {
        if (std::ranges::find(type.words, node.text) != type.words.end()) return;
        if (std::ranges::find(type.later_words, node.text) != type.later_words.end()) {
            return refuse(node, path, fmt::format("\"{}\" is not supported yet", node.text));
        }
        Suggestion suggestion(node.text);
        for (const auto word : type.words) suggestion.offer(word);
        return refuse(
            node, path, fmt::format("expected {}, found {}", type.expected, found(node)),
            suggestion.hint()
        );
    }
    const auto length = characters(node.text);
    const auto most = type.max_length != 0 ? type.max_length : kMaxPatternText;
    if (length > most) {
        return refuse(
            node, path, fmt::format("has {} characters: expected at most {}", length, most)
        );
    }
    if (type.check != nullptr) {
        if (auto problem = type.check(node)) {
            refuse(node, path, std::move(problem->message), std::move(problem->hint));
        }
        return;
    }
    if (type.pattern.empty() || matches(type.pattern, node.text)) return;
    std::string hint;
    if (type.pattern.starts_with("^(project|config):/")) {
        auto rest = std::string_view(node.text);
        while (rest.starts_with("./")) rest.remove_prefix(2);
        while (rest.starts_with('/')) rest.remove_prefix(1);
        if (rest.find(':') == std::string_view::npos)
            hint = fmt::format("write \"project:/{}\"", rest);
    }
    refuse(
        node, path, fmt::format("expected {}, found {}", type.expected, found(node)),
        std::move(hint)
    );
}

bool Validator::too_deep(const Node& node, const Type& type, const std::string& path) {
    if (type.name != "agent" || agents_ < kMaxAgentDepth) return false;
    report_.add(
        node.mark, path, fmt::format("agents are nested deeper than {} levels", kMaxAgentDepth)
    );
    return true;
}

void Validator::check_object(Node& node, const Type& type, const std::string& path) {
    if (too_deep(node, type, path)) {
        node.kind = Node::Kind::invalid;
        return;
    }
    const bool agent = type.name == "agent";
    if (agent) ++agents_;
    for (auto& member : node.members) {
        const auto key = std::ranges::find(type.keys, member.key, &Key::name);
        if (key == type.keys.end()) {
            unknown_key(member, type, path);
            member.value.kind = Node::Kind::invalid;
            continue;
        }
        const auto below = join_key(path, member.key);
        if (key->type->kind == Type::Kind::later && !member.value.is(Node::Kind::invalid)) {
            report_.add(member.mark, below, "not supported yet", "remove the key");
            member.value.kind = Node::Kind::invalid;
            continue;
        }
        if (type.null_removes && member.value.is(Node::Kind::null)) continue;
        check(member.value, *key->type, below);
    }
    if (agent) --agents_;
    for (const auto& key : type.keys) {
        if (key.need != Key::Need::required || node.find(key.name) != nullptr) continue;
        report_.add(
            node.mark, path, fmt::format("key \"{}\" is missing", key.name),
            fmt::format("expected {}", key.type->expected)
        );
    }
    if (type.one_key && node.members.size() != 1) {
        refuse(
            node, path,
            fmt::format("expected {}, found {} keys", type.expected, node.members.size())
        );
    }
}

void Validator::unknown_key(const Member& member, const Type& type, const std::string& path) {
    Suggestion suggestion(member.key);
    for (const auto& key : type.keys) suggestion.offer(key.name);
    auto hint = suggestion.hint();
    if (member.key == "<<") hint = "merge keys are not part of YAML 1.2; see cage_defaults";
    report_.add(
        member.mark, join_key(path, member.key.substr(0, 80)),
        fmt::format("unknown key \"{}\"", member.key.substr(0, 80)), std::move(hint)
    );
}

void Validator::check_map(Node& node, const Type& type, const std::string& path) {
    if (node.members.size() > type.max_items) {
        report_.add(
            node.members[type.max_items].mark, path,
            fmt::format("{} entries: expected at most {}", node.members.size(), type.max_items)
        );
    }
    for (auto& member : node.members) {
        const auto below = join_key(path, member.key.substr(0, 80));
        if (member.key.size() > kMaxPatternText || !matches(type.key->pattern, member.key)) {
            report_.add(
                member.mark, below,
                fmt::format(
                    "expected {}, found \"{}\"", type.key->expected, member.key.substr(0, 80)
                )
            );
        }
        check(member.value, *type.item, below);
    }
}

void Validator::check_list(Node& node, const Type& type, const std::string& path) {
    if (node.items.size() > type.max_items || node.items.size() < type.min_items) {
        const bool many = node.items.size() > type.max_items;
        report_.add(
            many ? node.items[type.max_items].mark : node.mark, path,
            fmt::format(
                "{} entries: expected at {} {}", node.items.size(), many ? "most" : "least",
                many ? type.max_items : type.min_items
            )
        );
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        check(node.items[i], *type.item, join_index(path, i));
    }
}

void Validator::refuse(Node& node, const std::string& path, std::string message, std::string hint) {
    report_.add(node.mark, path, std::move(message), std::move(hint));
    node.kind = Node::Kind::invalid;
}

bool Validator::matches(std::string_view pattern, const std::string& text) {
    const auto found_at = patterns_.try_emplace(pattern, pattern).first;
    return found_at->second.matches(text);
}

}  // namespace

void validate(Node& node, const Type& type, const std::string& path, Report& report) {
    Validator(report).check(node, type, path);
}

}  // namespace volary::dsl
