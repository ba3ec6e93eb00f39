// SPDX-License-Identifier: Apache-2.0
#include "base/protected.hpp"
#include "dsl/build.hpp"
#include "dsl/built_cage.hpp"
#include "dsl/scalars.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

constexpr std::string_view kWorkspace = "/workspace";
/// Of the protected paths, what no entry can make writable.
constexpr std::array<std::string_view, 2> kLocked{".volary", ".kaged"};
/// Places in a cage that the cage itself makes.
constexpr std::array<std::string_view, 12> kSystemTargets{"/proc",  "/sys",  "/dev", "/usr",
                                                          "/bin",   "/sbin", "/lib", "/lib32",
                                                          "/lib64", "/etc",  "/run", "/.volary"};

bool is_within(std::string_view path, std::string_view folder) {
    if (folder.empty()) return true;
    return path == folder || (path.starts_with(folder) && path[folder.size()] == '/');
}

FsMode mode_of(std::string_view word) {
    for (const auto mode : {FsMode::rw, FsMode::cow, FsMode::tmp, FsMode::hide})
        if (to_string(mode) == word) return mode;
    return FsMode::ro;
}

/// What is written there, be it only to a layer, is taken for what the host has by who runs later.
bool takes_changes(FsMode mode) { return mode == FsMode::rw || mode == FsMode::cow; }

class CageBuilder {
public:
    CageBuilder(const ProjectFolder& folder, Report& report) : folder_(folder), report_(report) {}
    BuiltCage build(const Node* cage, const Node* own, const std::string& path);

private:
    void read_fs(const Node& list, const std::string& path);
    void read_fs_entry(const Node& entry, const std::string& path);
    void add_fs_rule(const Node& entry, const std::string& path, FsRule rule, const Place& place);
    bool resolve_source(const Node& entry, const std::string& path, FsRule& rule, Place& place);
    bool check_target(const Node& entry, const std::string& path, const FsRule& rule);
    void protect_configuration();
    void read_limits(const Node& limits, const std::string& path);
    void read_seccomp(const Node& seccomp, const std::string& path);
    std::vector<std::string> read_names(
        const Node& in, std::string_view key, const std::string& path, std::string_view name
    );
    void read_words(const Node& cage, const std::string& path);
    void note_own(const Node& own);

    const ProjectFolder& folder_;
    Report& report_;
    BuiltCage built_;
    std::map<std::string, int> targets_;  // Line of the entry that is there.
};

BuiltCage CageBuilder::build(const Node* cage, const Node* own, const std::string& path) {
    auto& policy = built_.policy;
    policy.workspace = folder_.root();
    if (own != nullptr && own->is(Node::Kind::mapping)) note_own(*own);
    if (cage != nullptr && cage->is(Node::Kind::mapping)) {
        if (const auto* fs = cage->find("fs"); fs != nullptr && fs->is(Node::Kind::sequence)) {
            policy.workspace_writable = false;
            built_.keys["fs"] = {fs->mark, join_key(path, "fs")};
            read_fs(*fs, join_key(path, "fs"));
        }
        if (const auto* net = cage->find("net"); net != nullptr && net->is(Node::Kind::mapping))
            read_net(*net, join_key(path, "net"), built_, report_);
        if (const auto* limits = cage->find("limits"))
            read_limits(*limits, join_key(path, "limits"));
        if (const auto* seccomp = cage->find("seccomp"))
            read_seccomp(*seccomp, join_key(path, "seccomp"));
        read_words(*cage, path);
    }
    protect_configuration();
    for (const auto& [key, said] : built_.keys) policy.origins[key] = origin_of(said.mark, report_);
    return std::move(built_);
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
    Place place;
    if (!resolve_source(entry, path, rule, place)) return;
    if (const auto* at = text_of(entry, "at")) {
        rule.target = *at;
    } else if (rule.source.empty()) {
        return;
    } else {
        rule.target = std::string(kWorkspace);
        if (!place.relative.empty()) rule.target += "/" + place.relative;
    }
    if (!check_target(entry, path, rule)) return;
    add_fs_rule(entry, path, std::move(rule), place);
}

void CageBuilder::add_fs_rule(
    const Node& entry, const std::string& path, FsRule rule, const Place& place
) {
    if (takes_changes(rule.mode)) {
        for (const auto locked : kLocked) {
            if (!is_within(place.resolved, locked)) continue;
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
    if (rule.mode == FsMode::cow && !place.folder) {
        report_.add(
            entry.mark, path, fmt::format("\"{}\" is a file: cow is for folders", place.relative),
            "name the folder that it is in"
        );
        return;
    }
    // The root at its own place is the workspace itself, not one more mount.
    if (rule.target == kWorkspace && rule.source == folder_.root()) {
        built_.workspace = {entry.mark, path};
        if (rule.mode != FsMode::cow) {
            built_.policy.workspace_writable = rule.mode == FsMode::rw;
            return;
        }
    }
    rule.origin = origin_of(entry.mark, report_);
    built_.policy.fs.push_back(std::move(rule));
    built_.fs.push_back({{entry.mark, path}, place.resolved});
}

/// False when the entry must be skipped; a problem has then been told.
bool CageBuilder::resolve_source(
    const Node& entry, const std::string& path, FsRule& rule, Place& found
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
        if (hint.empty() && takes_changes(rule.mode))
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
    // Where its links lead now: one that an agent plants later is followed by nobody.
    rule.source = folder_.root();
    if (!place->resolved.empty()) rule.source += "/" + place->resolved;
    rule.root = folder_.root();
    found = std::move(*place);
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
    for (const auto& [name, reason] : protected_paths()) {
        const auto target = fmt::format("{}/{}", kWorkspace, name);
        if (targets_.contains(target)) continue;
        const auto place =
            folder_.resolve(fmt::format("project:/{}", name), ProjectFolder::Want::anything);
        // A mount cannot hold a link.
        if (!place || place->resolved != name) continue;
        const auto covered = std::ranges::any_of(built_.policy.fs, [&](const FsRule& rule) {
            return takes_changes(rule.mode) && is_within(target, rule.target);
        });
        if (!built_.policy.workspace_writable && !covered) continue;
        added.push_back(
            {fmt::format("{}/{}", folder_.root(), name), folder_.root(), FsMode::ro, target}
        );
    }
    for (auto& rule : added) {
        built_.fs.push_back({{}, rule.source.substr(folder_.root().size() + 1)});
        built_.policy.fs.push_back(std::move(rule));
    }
}

void CageBuilder::read_limits(const Node& limits, const std::string& path) {
    auto& out = built_.policy.limits;
    for (const auto& [key, mark, value] : limits.members) {
        if (value.is(Node::Kind::invalid) || value.is(Node::Kind::null)) continue;
        built_.keys["limits." + key] = {value.mark, join_key(path, key)};
        if (key == "memory") out.memory = parse_size(value.text);
        if (key == "swap") out.swap = parse_size(value.text);
        if (key == "disk") out.disk = parse_size(value.text);
        if (key == "output") out.output = parse_size(value.text);
        if (key == "wall") out.wall = parse_duration(value.text);
        if (key == "cpu") out.cpu = value.number;
        if (key == "pids") out.pids = static_cast<std::uint32_t>(value.number);
        if (key == "files") out.files = static_cast<std::uint32_t>(value.number);
    }
}

void CageBuilder::read_seccomp(const Node& seccomp, const std::string& path) {
    auto& policy = built_.policy;
    built_.keys["seccomp"] = {seccomp.mark, path};
    if (seccomp.is(Node::Kind::text) && seccomp.text == "relaxed")
        policy.seccomp = SeccompProfile::relaxed;
    if (!seccomp.is(Node::Kind::mapping)) return;
    policy.seccomp_add = read_names(seccomp, "add", path, "seccomp.add");
    policy.seccomp_remove = read_names(seccomp, "remove", path, "seccomp.remove");
    for (std::size_t i = 0; i < policy.seccomp_remove.size(); ++i) {
        const auto& name = policy.seccomp_remove[i];
        if (std::ranges::find(policy.seccomp_add, name) == policy.seccomp_add.end()) continue;
        const auto& said = built_.keys[fmt::format("seccomp.remove[{}]", i)];
        report_.add(said.mark, said.path, fmt::format("\"{}\" is in add, too", name));
    }
}

/// The texts of a list, each once; their places go to `keys` below `name`.
std::vector<std::string> CageBuilder::read_names(
    const Node& in, std::string_view key, const std::string& path, std::string_view name
) {
    std::vector<std::string> out;
    const auto* list = in.find(key);
    if (list == nullptr || !list->is(Node::Kind::sequence)) return out;
    const auto below = join_key(path, std::string(key));
    for (std::size_t i = 0; i < list->items.size(); ++i) {
        const auto& item = list->items[i];
        if (!item.is(Node::Kind::text)) continue;
        if (std::ranges::find(out, item.text) != out.end()) {
            report_.add(
                item.mark, join_index(below, i), fmt::format("\"{}\" is listed twice", item.text)
            );
            continue;
        }
        built_.keys[fmt::format("{}[{}]", name, out.size())] = {item.mark, join_index(below, i)};
        out.push_back(item.text);
    }
    return out;
}

void CageBuilder::read_words(const Node& cage, const std::string& path) {
    auto& policy = built_.policy;
    if (const auto* state = text_of(cage, "state"))
        policy.state = *state == "kept" ? CageState::kept : CageState::ephemeral;
    if (const auto* word = text_of(cage, "backend")) {
        for (const auto backend :
             {CageBackend::bwrap, CageBackend::native, CageBackend::podman, CageBackend::firejail
             }) {
            if (to_string(backend) == *word) policy.backend = backend;
        }
    }
    for (const auto* key : {"state", "backend", "detached", "disabled"}) {
        const auto* value = cage.find(key);
        if (value != nullptr && !value->is(Node::Kind::null))
            built_.keys[key] = {value->mark, join_key(path, key)};
    }
    policy.require = read_names(cage, "require", path, "require");
    policy.devices = read_names(cage, "devices", path, "devices");
    policy.detached = flag_of(cage, "detached");
    policy.disabled = flag_of(cage, "disabled");
    if (const auto* env = cage.find("env")) {
        for (const auto& member : env->members) policy.env[member.key] = member.value.text;
    }
}

/// What of the keys that bound other cages `own` says itself.
void CageBuilder::note_own(const Node& own) {
    built_.own_cage = true;
    const auto said = [](const Node& node) {
        return !node.is(Node::Kind::null) && !node.is(Node::Kind::invalid);
    };
    for (const auto& [key, mark, value] : own.members) {
        if (!said(value)) continue;
        built_.own.insert(key);
        for (const auto& below : value.members)
            if (said(below.value)) built_.own.insert(key + "." + below.key);
    }
}

}  // namespace

BuiltCage build_cage(
    const Node* cage, const Node* own, const std::string& path, const ProjectFolder& folder,
    Report& report
) {
    return CageBuilder(folder, report).build(cage, own, path);
}

void hold_to_ceiling(
    const BuiltCage& cage, const CageCeiling& ceiling, const Said& otherwise, Report& report
) {
    for (const auto& [key, message, origin] : find_excess(cage.policy, ceiling)) {
        const auto known = cage.keys.find(key);
        const auto* said = known == cage.keys.end() ? &otherwise : &known->second;
        for (std::size_t i = 0; i < cage.net.size(); ++i)
            if (key == fmt::format("net[{}]", i)) said = &cage.net[i];
        report.add(said->mark, said->path, message, "the operator's config decides ([ceiling])");
    }
}

std::string origin_of(const Mark& mark, const Report& report) {
    return fmt::format("{}:{}", report.file(mark.file), mark.line);
}

const std::string* text_of(const Node& node, std::string_view key) {
    const auto* value = node.find(key);
    return value != nullptr && value->is(Node::Kind::text) ? &value->text : nullptr;
}

bool flag_of(const Node& node, std::string_view key) {
    const auto* value = node.find(key);
    return value != nullptr && value->is(Node::Kind::boolean) && value->boolean;
}

}  // namespace volary::dsl
