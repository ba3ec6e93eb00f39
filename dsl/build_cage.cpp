// SPDX-License-Identifier: Apache-2.0
#include "dsl/build.hpp"
#include "dsl/net_rule.hpp"
#include "dsl/scalars.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

constexpr std::string_view kWorkspace = "/workspace";
/// What decides over later cages and commands of the operator; an agent that could write it would
/// widen its own cage. Read-only in every writable workspace.
constexpr std::array<std::string_view, 4> kProtected{
    ".volary", ".kaged", ".git/hooks", ".git/config"
};
/// Of these, what no entry can make writable.
constexpr std::array<std::string_view, 2> kLocked{".volary", ".kaged"};
/// Places in a cage that the cage itself makes.
constexpr std::array<std::string_view, 12> kSystemTargets{"/proc",  "/sys",  "/dev", "/usr",
                                                          "/bin",   "/sbin", "/lib", "/lib32",
                                                          "/lib64", "/etc",  "/run", "/.volary"};

bool is_within(std::string_view path, std::string_view folder) {
    if (folder.empty()) return true;
    return path == folder || (path.starts_with(folder) && path[folder.size()] == '/');
}

/// A value that validate() left as text, or null.
const std::string* text_of(const Node& node, std::string_view key) {
    const auto* value = node.find(key);
    return value != nullptr && value->is(Node::Kind::text) ? &value->text : nullptr;
}

FsMode mode_of(std::string_view word) {
    if (word == "rw") return FsMode::rw;
    if (word == "tmp") return FsMode::tmp;
    if (word == "hide") return FsMode::hide;
    return FsMode::ro;
}

class CageBuilder {
public:
    CageBuilder(const ProjectFolder& folder, Report& report) : folder_(folder), report_(report) {}
    CagePolicy build(const Node* cage, const std::string& path);

private:
    void read_fs(const Node& list, const std::string& path);
    void read_fs_entry(const Node& entry, const std::string& path);
    bool resolve_source(
        const Node& entry, const std::string& path, FsRule& rule, std::string& resolved
    );
    bool check_target(const Node& entry, const std::string& path, const FsRule& rule);
    void protect_configuration();
    void read_net(const Node& list, const std::string& path);
    void read_net_entry(const Node& entry, const std::string& path);
    void read_limits(const Node& limits);

    const ProjectFolder& folder_;
    Report& report_;
    CagePolicy policy_;
    std::map<std::string, int> targets_;    // Line of the entry that is there.
    std::map<std::string, int> net_rules_;  // The same for "host:port".
};

CagePolicy CageBuilder::build(const Node* cage, const std::string& path) {
    policy_.workspace = folder_.root();
    policy_.limits = default_limits();
    if (cage != nullptr && cage->is(Node::Kind::mapping)) {
        if (const auto* fs = cage->find("fs"); fs != nullptr && fs->is(Node::Kind::sequence)) {
            policy_.workspace_writable = false;
            read_fs(*fs, join_key(path, "fs"));
        }
        if (const auto* net = cage->find("net"); net != nullptr && net->is(Node::Kind::mapping)) {
            if (const auto* allow = net->find("allow"))
                read_net(*allow, join_key(path, "net.allow"));
        }
        if (const auto* limits = cage->find("limits")) read_limits(*limits);
        if (const auto* word = text_of(*cage, "seccomp"); word != nullptr && *word == "relaxed") {
            policy_.seccomp = SeccompProfile::relaxed;
        }
        if (const auto* env = cage->find("env")) {
            for (const auto& member : env->members) policy_.env[member.key] = member.value.text;
        }
    }
    protect_configuration();
    return std::move(policy_);
}

void CageBuilder::read_fs(const Node& list, const std::string& path) {
    for (std::size_t i = 0; i < list.items.size(); ++i) {
        if (list.items[i].is(Node::Kind::mapping))
            read_fs_entry(list.items[i], join_index(path, i));
    }
}

void CageBuilder::read_fs_entry(const Node& entry, const std::string& path) {
    const auto* mode = text_of(entry, "mode");
    if (mode == nullptr) return;
    FsRule rule;
    rule.mode = mode_of(*mode);
    std::string resolved;
    if (!resolve_source(entry, path, rule, resolved)) return;
    if (const auto* at = text_of(entry, "at")) {
        rule.target = *at;
    } else if (rule.source.empty()) {
        return;
    } else {
        rule.target = std::string(kWorkspace) + rule.source.substr(folder_.root().size());
    }
    if (!check_target(entry, path, rule)) return;
    if (rule.mode == FsMode::rw) {
        for (const auto locked : kLocked) {
            if (!is_within(resolved, locked)) continue;
            report_.add(
                entry.mark, path,
                fmt::format(
                    "\"{}\" holds the project file: it cannot be writable in a cage", locked
                ),
                "use mode ro"
            );
            return;
        }
    }
    // The root at its own place is the workspace itself, not one more mount.
    if (rule.target == kWorkspace && rule.source == folder_.root()) {
        policy_.workspace_writable = rule.mode == FsMode::rw;
        return;
    }
    policy_.fs.push_back(std::move(rule));
}

/// False when the entry must be skipped; a problem has then been told.
bool CageBuilder::resolve_source(
    const Node& entry, const std::string& path, FsRule& rule, std::string& resolved
) {
    const auto* node = entry.find("path");
    if (node == nullptr) {
        if (rule.mode == FsMode::tmp && entry.find("at") != nullptr) return true;
        report_.add(
            entry.mark, path, "key \"path\" is missing",
            rule.mode == FsMode::tmp ? "a tmp entry needs path or at"
                                     : "expected a path such as project:/data"
        );
        return false;
    }
    if (!node->is(Node::Kind::text)) return false;
    auto place = folder_.resolve(node->text, ProjectFolder::Want::anything);
    if (!place) {
        auto hint = place.error().hint;
        if (hint.empty() && rule.mode == FsMode::rw)
            hint = "create it first: a cage mounts only what is there";
        report_.add(node->mark, join_key(path, "path"), place.error().message, std::move(hint));
        return false;
    }
    if (place->relative.empty() && (rule.mode == FsMode::hide || rule.mode == FsMode::tmp) &&
        entry.find("at") == nullptr) {
        report_.add(
            node->mark, join_key(path, "path"), "the project's root itself cannot be hidden",
            "name the folders in it"
        );
        return false;
    }
    resolved = place->resolved;
    rule.source = std::move(place->source);
    rule.root = folder_.root();
    return true;
}

bool CageBuilder::check_target(const Node& entry, const std::string& path, const FsRule& rule) {
    const auto* at = entry.find("at");
    const auto& mark = at != nullptr ? at->mark : entry.mark;
    const auto below = at != nullptr ? join_key(path, "at") : path;
    const auto& target = rule.target;
    const bool clean = target.find("/../") == std::string::npos && !target.ends_with("/..") &&
                       target.find("//") == std::string::npos && !target.ends_with('/') &&
                       target.find("/./") == std::string::npos && !target.ends_with("/.");
    if (at != nullptr && (!clean || target.size() > 4000)) {
        report_.add(
            mark, below, "expected an absolute path without \"..\", \".\" and doubled \"/\""
        );
        return false;
    }
    for (const auto system : kSystemTargets) {
        if (!is_within(target, system)) continue;
        report_.add(
            mark, below, fmt::format("\"{}\" is made by the cage itself", system),
            "choose a place such as /data"
        );
        return false;
    }
    const auto [first, fresh] = targets_.try_emplace(target, mark.line);
    if (fresh) return true;
    report_.add(
        mark, below, fmt::format("\"{}\" is already taken", target),
        fmt::format("by the entry in line {}", first->second)
    );
    return false;
}

/// Read-only entries over what must not be written although a folder above it may be.
void CageBuilder::protect_configuration() {
    std::vector<FsRule> added;
    for (const auto name : kProtected) {
        const auto target = fmt::format("{}/{}", kWorkspace, name);
        if (targets_.contains(target) || !folder_.exists(std::string(name))) continue;
        const auto covered = std::ranges::any_of(policy_.fs, [&](const FsRule& rule) {
            return rule.mode == FsMode::rw && is_within(target, rule.target);
        });
        if (!policy_.workspace_writable && !covered) continue;
        added.push_back(
            {fmt::format("{}/{}", folder_.root(), name), folder_.root(), FsMode::ro, target}
        );
    }
    policy_.fs.insert(policy_.fs.end(), added.begin(), added.end());
}

void CageBuilder::read_net(const Node& list, const std::string& path) {
    for (std::size_t i = 0; i < list.items.size(); ++i) {
        read_net_entry(list.items[i], join_index(path, i));
    }
}

void CageBuilder::read_net_entry(const Node& entry, const std::string& path) {
    const bool map = entry.is(Node::Kind::mapping);
    const auto* text = entry.is(Node::Kind::text) ? &entry.text : nullptr;
    if (map) text = text_of(entry, "to");
    if (text == nullptr) return;
    auto rule = parse_net_rule(*text);
    if (!rule) return;  // validate() has told.
    if (map) {
        const auto* open = entry.find("private");
        rule->allow_private = open != nullptr && open->is(Node::Kind::boolean) && open->boolean;
        if (const auto* sni = text_of(entry, "sni")) rule->sni = *sni;
    }
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
    const auto [first, fresh] = net_rules_.try_emplace(name, entry.mark.line);
    if (!fresh) {
        report_.add(
            entry.mark, path, fmt::format("\"{}\" is already allowed", name),
            fmt::format("by the rule in line {}", first->second)
        );
        return;
    }
    policy_.net.push_back(std::move(*rule));
}

void CageBuilder::read_limits(const Node& limits) {
    auto& out = policy_.limits;
    for (const auto& [key, mark, value] : limits.members) {
        if (value.is(Node::Kind::invalid) || value.is(Node::Kind::null)) continue;
        if (key == "memory") out.memory = parse_size(value.text);
        if (key == "disk") out.disk = parse_size(value.text);
        if (key == "wall") out.wall = parse_duration(value.text);
        if (key == "cpu") out.cpu = value.number;
        if (key == "pids") out.pids = static_cast<std::uint32_t>(value.number);
        if (key == "files") out.files = static_cast<std::uint32_t>(value.number);
    }
}

}  // namespace

CagePolicy build_cage(
    const Node* cage, const std::string& path, const ProjectFolder& folder, Report& report
) {
    return CageBuilder(folder, report).build(cage, path);
}

}  // namespace volary::dsl
