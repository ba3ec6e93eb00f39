// SPDX-License-Identifier: Apache-2.0
#include "dsl/built_cage.hpp"
#include "dsl/net_rule.hpp"

#include <fmt/format.h>

namespace volary::dsl {
namespace {

class NetReader {
public:
    NetReader(BuiltCage& out, Report& report) : out_(out), report_(report) {}

    void read(const Node& net, const std::string& path) {
        if (const auto* allow = net.find("allow")) {
            const auto below = join_key(path, "allow");
            out_.keys["net.allow"] = {allow->mark, below};
            for (std::size_t i = 0; i < allow->items.size(); ++i)
                read_rule(allow->items[i], join_index(below, i));
        }
        const auto* ports = net.find("ports");
        if (ports == nullptr) return;
        const auto below = join_key(path, "ports");
        for (std::size_t i = 0; i < ports->items.size(); ++i)
            read_port(ports->items[i], join_index(below, i));
    }

private:
    void read_rule(const Node& entry, const std::string& path);
    bool read_details(const Node& entry, const std::string& path, NetRule& rule);
    bool check_http(const Node& entry, const std::string& path, const NetRule& rule);
    void read_port(const Node& entry, const std::string& path);

    BuiltCage& out_;
    Report& report_;
    std::map<std::string, int> rules_;  // Line of the rule that is there, by "host:port".
    std::map<std::string, int> names_;  // The same for published names and ports.
};

std::vector<std::string> texts_of(const Node& node, std::string_view key) {
    std::vector<std::string> out;
    const auto* list = node.find(key);
    if (list == nullptr) return out;
    for (const auto& item : list->items)
        if (item.is(Node::Kind::text)) out.push_back(item.text);
    return out;
}

void NetReader::read_rule(const Node& entry, const std::string& path) {
    const bool map = entry.is(Node::Kind::mapping);
    const auto* text = entry.is(Node::Kind::text) ? &entry.text : nullptr;
    if (map) text = text_of(entry, "to");
    if (text == nullptr) return;
    auto rule = parse_net_rule(*text);
    if (!rule) return;  // validate() has told.
    if (map && !read_details(entry, path, *rule)) return;
    if (names_private_address(*rule) && !rule->allow_private) {
        report_.add(
            entry.mark, path,
            fmt::format("\"{}\" is a private address: expected private: true", rule->host),
            fmt::format("write {{ to: \"{}\", private: true }}", *text)
        );
        return;
    }
    const auto wildcard = rule->kind == NetRule::Kind::wildcard ? "*." : "";
    const auto name = fmt::format("{}{}:{}", wildcard, rule->host, rule->port);
    const auto [first, fresh] = rules_.try_emplace(name, entry.mark.line);
    if (!fresh) {
        report_.add(
            entry.mark, path, fmt::format("\"{}\" is already allowed", name),
            fmt::format("by the rule in line {}", first->second)
        );
        return;
    }
    rule->origin = origin_of(entry.mark, report_);
    out_.policy.net.push_back(std::move(*rule));
    out_.net.push_back({entry.mark, path});
}

/// False when the rule must be left out; a problem has then been told.
bool NetReader::read_details(const Node& entry, const std::string& path, NetRule& rule) {
    rule.allow_private = flag_of(entry, "private");
    if (const auto* sni = text_of(entry, "sni")) rule.sni = *sni;
    rule.methods = texts_of(entry, "methods");
    rule.paths = texts_of(entry, "paths");
    if (const auto* name = text_of(entry, "credential")) rule.credential = *name;
    if (rule.credential.empty()) return check_http(entry, path, rule);
    const auto& mark = entry.find("credential")->mark;
    const auto below = join_key(path, "credential");
    if (rule.kind != NetRule::Kind::name && rule.kind != NetRule::Kind::wildcard) {
        report_.add(
            mark, below, fmt::format("a credential goes to a name, \"{}\" is none", rule.text),
            "its certificate is checked against the name: write host:port or *.domain:port"
        );
        return false;
    }
    if (rule.sni.empty()) return true;
    report_.add(
        mark, below, "a credential and sni exclude each other",
        "with a credential the gatekeeper itself speaks TLS, to the name of the rule"
    );
    return false;
}

/// Methods and paths can be held only where the request can be read.
bool NetReader::check_http(const Node& entry, const std::string& path, const NetRule& rule) {
    constexpr std::uint16_t kHttps = 443;
    if (rule.port != kHttps || (rule.methods.empty() && rule.paths.empty())) return true;
    const auto* key = rule.methods.empty() ? "paths" : "methods";
    report_.add(
        entry.find(key)->mark, join_key(path, key),
        fmt::format(
            "\"{}\" is TLS on port 443: the gatekeeper cannot read its requests", rule.text
        ),
        "methods and paths are for plain HTTP: port 80, another plain port, or a credential rule"
    );
    return false;
}

void NetReader::read_port(const Node& entry, const std::string& path) {
    if (!entry.is(Node::Kind::mapping)) return;
    const auto* name = text_of(entry, "name");
    const auto* number = entry.find("port");
    if (name == nullptr || number == nullptr || !number->is(Node::Kind::integer)) return;
    for (const auto& taken : {*name, number->text}) {
        const auto [first, fresh] = names_.try_emplace(taken, entry.mark.line);
        if (fresh) continue;
        report_.add(
            entry.mark, path, fmt::format("\"{}\" is published twice", taken),
            fmt::format("first in line {}", first->second)
        );
        return;
    }
    out_.keys[fmt::format("net.ports[{}]", out_.policy.ports.size())] = {entry.mark, path};
    out_.policy.ports.push_back(
        {*name, static_cast<std::uint16_t>(number->number), flag_of(entry, "public")}
    );
}

}  // namespace

void read_net(const Node& net, const std::string& path, BuiltCage& out, Report& report) {
    NetReader(out, report).read(net, path);
}

}  // namespace volary::dsl
