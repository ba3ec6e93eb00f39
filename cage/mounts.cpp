// SPDX-License-Identifier: Apache-2.0
#include "cage/mounts.hpp"

#include "base/error.hpp"
#include "base/protected.hpp"
#include "cage/layers.hpp"
#include "cage/protected_places.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// What of the host every cage sees, when it is there.
constexpr std::array kSystemFolders{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
constexpr std::array kSystemEtc{
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/alternatives", "/etc/ld.so.cache"
};
/// Targets that are the cage's own.
constexpr std::array kReserved{"/proc", "/dev", "/sys", "/.volary"};

std::string join(const std::string& folder, std::string_view rest) {
    if (rest.empty()) return folder;
    return folder + (folder.ends_with('/') ? "" : "/") + std::string(rest);
}

/// `path` relative to `folder`; is_beneath() holds.
std::string_view relative(std::string_view path, std::string_view folder) {
    if (folder == "/") return path.substr(1);
    auto rest = path.substr(folder.size());
    if (rest.starts_with('/')) rest.remove_prefix(1);
    return rest;
}

std::string parent(const std::string& path) {
    const auto slash = path.rfind('/');
    return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

bool is_bind(const Mount& mount) {
    return mount.kind == Mount::Kind::bind_ro || mount.kind == Mount::Kind::bind_rw ||
           mount.kind == Mount::Kind::overlay;
}

[[noreturn]] void refuse(const Mount& mount, const std::string& why) {
    throw Error(Errc::invalid, fmt::format("{}: \"{}\" {}", mount.rule, mount.target, why));
}

class Planner {
public:
    Planner(const CageSpec& spec, const HostView& host) : spec_(spec), host_(host) {}

    std::vector<Mount> plan() {
        add_system();
        add(Mount::Kind::tmpfs, "/tmp", "", "", "default");
        if (spec_.kept_home.empty())
            add(Mount::Kind::tmpfs, kHome, "", "", "default");
        else
            add(Mount::Kind::bind_rw, kHome, spec_.kept_home, "", "state");
        const auto& policy = spec_.policy;
        if (!policy.workspace.empty()) {
            const auto kind =
                policy.workspace_writable ? Mount::Kind::bind_rw : Mount::Kind::bind_ro;
            add(kind, kWorkspace, policy.workspace, "", "workspace");
        }
        add_rules(policy.fs, "fs");
        add_rules(spec_.extra_binds, "extra_binds");
        protect_workspace();
        add(Mount::Kind::bind_ro, kInitPath, spec_.init, "", "init");
        order();
        for (auto& mount : mounts_) check(mount);
        std::erase_if(mounts_, [](const Mount& m) { return m.rule.empty(); });
        return std::move(mounts_);
    }

private:
    void add(
        Mount::Kind kind, std::string target, std::string source, std::string root, std::string rule
    ) {
        // The last word on a target counts: a rule may replace a default.
        std::erase_if(mounts_, [&](const Mount& m) { return m.target == target; });
        mounts_.push_back(
            {kind, std::move(target), std::move(source), std::move(root), std::move(rule), false}
        );
    }

    void add_system() {
        for (const std::string path : kSystemFolders)
            if (host_.kind(path) == PathKind::folder)
                add(Mount::Kind::bind_ro, path, path, "", "system");
        for (const std::string path : kSystemEtc)
            if (host_.kind(path) != PathKind::absent)
                add(Mount::Kind::bind_ro, path, path, "", "system");
    }

    void add_rules(const std::vector<FsRule>& rules, std::string_view list) {
        for (std::size_t i = 0; i < rules.size(); ++i) {
            const auto& rule = rules[i];
            const auto name = rule_name(list, i, rule);
            check_target(rule.target, name);
            const auto kind = kind_of(rule.mode);
            const bool bind = kind != Mount::Kind::tmpfs && kind != Mount::Kind::hidden_folder;
            add(kind, rule.target, bind ? rule.source : "", bind ? rule.root : "", name);
        }
    }

    static Mount::Kind kind_of(FsMode mode) {
        switch (mode) {
            case FsMode::ro:
                return Mount::Kind::bind_ro;
            case FsMode::rw:
                return Mount::Kind::bind_rw;
            case FsMode::cow:
                return Mount::Kind::overlay;
            case FsMode::tmp:
                return Mount::Kind::tmpfs;
            case FsMode::hide:
                return Mount::Kind::hidden_folder;
        }
        return Mount::Kind::hidden_folder;
    }

    static void check_target(const std::string& target, const std::string& name) {
        if (!is_normal(target))
            throw Error(
                Errc::invalid,
                fmt::format("{}: \"{}\" is not an absolute path without \"..\"", name, target)
            );
        const bool reserved = std::any_of(kReserved.begin(), kReserved.end(), [&](const char* p) {
            return is_beneath(target, p);
        });
        if (target == "/" || reserved)
            throw Error(
                Errc::invalid, fmt::format("{}: \"{}\" belongs to the cage itself", name, target)
            );
    }

    /// In each writable bind of (a part of) the workspace, the protected paths become read-only.
    void protect_workspace() {
        const auto& workspace = spec_.policy.workspace;
        if (workspace.empty()) return;
        auto binds = mounts_;
        std::erase_if(binds, [](const Mount& m) {
            return m.kind != Mount::Kind::bind_rw && m.kind != Mount::Kind::overlay;
        });
        for (const auto& bind : binds) {
            const bool inside = bind.source != workspace && is_beneath(bind.source, workspace);
            const auto below = inside ? relative(bind.source, workspace) : std::string_view();
            if (below != ".git" && is_protected(below))
                refuse(bind, fmt::format("would make the protected \"{}\" writable", bind.source));
        }
        if (binds.empty()) return;
        for (const auto& path : find_protected(workspace, host_).held) {
            for (const auto& bind : binds) {
                if (path == bind.source)
                    refuse(bind, fmt::format("would make the protected \"{}\" writable", path));
                if (is_beneath(path, bind.source)) protect(bind, path);
            }
        }
    }

    void protect(const Mount& bind, const std::string& path) {
        const auto target = join(bind.target, relative(path, bind.source));
        // Another rule covers the place already: what is seen there is not this bind's.
        const bool covered = std::any_of(mounts_.begin(), mounts_.end(), [&](const Mount& m) {
            return m.rule != "protected" && m.target != target && is_beneath(target, m.target) &&
                   m.target.size() > bind.target.size();
        });
        if (covered) return;
        // A folder with a mount below it can be renamed and made anew, a mount point cannot: so
        // the folders between are mounted on themselves. In an overlay the cage may do so: the
        // host's files do not change, and keep_changes() refuses it.
        if (bind.kind == Mount::Kind::bind_rw) {
            for (auto up = parent(path); up != bind.source && is_beneath(up, bind.source);
                 up = parent(up))
                pin(join(bind.target, relative(up, bind.source)), up);
        }
        if (!is_taken(target))
            add(Mount::Kind::bind_ro, target, path, spec_.policy.workspace, "protected");
    }

    /// A rule has the place: read-only, hidden or private it protects as well, and writable it was
    /// refused.
    bool is_taken(const std::string& target) const {
        return std::any_of(mounts_.begin(), mounts_.end(), [&](const Mount& m) {
            return m.target == target;
        });
    }

    void pin(const std::string& target, const std::string& source) {
        if (!is_taken(target))
            add(Mount::Kind::bind_rw, target, source, spec_.policy.workspace, "protected");
    }

    void order() {
        const auto key = [](const Mount& m) {
            return std::pair(
                std::count(m.target.begin(), m.target.end(), '/'), std::string_view(m.target)
            );
        };
        std::sort(mounts_.begin(), mounts_.end(), [&](const Mount& a, const Mount& b) {
            return key(a) < key(b);
        });
    }

    /// The mount of the cage in which `target`'s place lies; none: the cage's own root.
    const Mount* holder(const Mount& mount) const {
        const Mount* found = nullptr;
        for (const auto& other : mounts_) {
            if (&other == &mount || other.target == mount.target) continue;
            if (!is_beneath(mount.target, other.target)) continue;
            if (found == nullptr || other.target.size() > found->target.size()) found = &other;
        }
        return found;
    }

    void check(Mount& mount) {
        const auto* held = holder(mount);
        if (is_bind(mount) && !is_normal(mount.source)) refuse(mount, "has no absolute source");
        if (held == nullptr || !is_bind(*held)) {
            if (mount.kind == Mount::Kind::hidden_folder && held == nullptr) mount.rule.clear();
            return;
        }
        check_place(mount, *held);
    }

    /// bwrap 0.8 follows symbolic links at a destination (CVE-2026-87766) and makes a destination
    /// that is missing. Below a bind of the host that means: the place must be there already and
    /// no component of it may be a link. An agent of another cage could still swap one while bwrap
    /// works, so volary-init looks again from inside and refuses to start the runner.
    void check_place(Mount& mount, const Mount& held) {
        auto place = held.source;
        auto changed = upper_of(held);
        auto rest = relative(mount.target, held.target);
        while (!rest.empty()) {
            const auto slash = std::min(rest.find('/'), rest.size());
            place = join(place, rest.substr(0, slash));
            if (!changed.empty()) changed = join(changed, rest.substr(0, slash));
            rest.remove_prefix(std::min(slash + 1, rest.size()));
            if (!check_layer(mount, changed)) return mount.rule.clear();
            const auto kind = host_.kind(place);
            if (kind == PathKind::link)
                refuse(mount, fmt::format("lies behind the symbolic link \"{}\"", place));
            if (kind == PathKind::absent) {
                // Nothing to hide.
                if (mount.kind == Mount::Kind::hidden_folder) return mount.rule.clear();
                refuse(mount, fmt::format("has no place: create \"{}\" first", place));
            }
        }
        if (mount.kind == Mount::Kind::hidden_folder && host_.kind(place) == PathKind::file)
            mount.kind = Mount::Kind::hidden_file;
        mount.guarded = held.kind != Mount::Kind::bind_ro;
    }

    /// Where the changes of an overlay are; "" for other mounts.
    std::string upper_of(const Mount& held) const {
        if (held.kind != Mount::Kind::overlay || spec_.layers_folder.empty()) return {};
        return join(join(spec_.layers_folder, layer_name(held.target)), "upper");
    }

    /// False when an earlier cage has put something else in the place of a protected path: the
    /// host's own is not seen there, so there is nothing to hold. For a rule that is a reason to
    /// refuse.
    bool check_layer(const Mount& mount, const std::string& changed) const {
        if (changed.empty()) return true;
        const auto kind = host_.kind(changed);
        if (kind == PathKind::absent || kind == PathKind::folder) return true;
        if (kind == PathKind::file && mount.kind != Mount::Kind::hidden_folder) return true;
        if (mount.rule == "protected") return false;
        refuse(mount, "was replaced in the layer that is kept: drop that change first");
    }

    const CageSpec& spec_;
    const HostView& host_;
    std::vector<Mount> mounts_;
};

}  // namespace

bool is_normal(std::string_view path) {
    if (!path.starts_with('/') || path.find('\0') != path.npos) return false;
    if (path == "/") return true;
    std::size_t at = 1;
    while (at <= path.size()) {
        const auto end = std::min(path.find('/', at), path.size());
        const auto part = path.substr(at, end - at);
        if (part.empty() || part == "." || part == "..") return false;
        at = end + 1;
    }
    return true;
}

bool is_beneath(std::string_view path, std::string_view folder) noexcept {
    if (folder == "/") return path.starts_with('/');
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

std::string rule_name(std::string_view list, std::size_t index, const FsRule& rule) {
    if (rule.origin.empty()) return fmt::format("{}[{}]", list, index);
    return fmt::format("{}[{}] ({})", list, index, rule.origin);
}

std::vector<Mount> plan_mounts(const CageSpec& spec, const HostView& host) {
    return Planner(spec, host).plan();
}

std::vector<std::string> unheld_paths(
    const std::string& workspace, const std::vector<Mount>& mounts, const HostView& host
) {
    std::vector<std::string> out;
    if (workspace.empty()) return out;
    // By the mount that shows it, not by any that would: a folder below may be bound read-only.
    for (auto& path : find_protected(workspace, host).unheld) {
        const Mount* shown = nullptr;
        for (const auto& mount : mounts) {
            if (!is_bind(mount) || !is_beneath(path, mount.source)) continue;
            const bool wider = shown != nullptr && mount.source.size() < shown->source.size();
            const bool tied = shown != nullptr && mount.source.size() == shown->source.size();
            if (!wider && (!tied || mount.kind == Mount::Kind::bind_rw)) shown = &mount;
        }
        if (shown != nullptr && shown->kind == Mount::Kind::bind_rw) out.push_back(std::move(path));
    }
    return out;
}

}  // namespace volary::cage
