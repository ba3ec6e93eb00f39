// SPDX-License-Identifier: Apache-2.0
#include "cage/protected_places.hpp"

#include "base/protected.hpp"

#include <algorithm>
#include <array>

namespace volary::cage {
namespace {

/// Submodules have names with slashes, and submodules of their own.
constexpr int kMaxModuleDepth = 6;

constexpr std::array kOfModule{"hooks", "config", "config.worktree", "commondir"};

class Finder {
public:
    Finder(const std::string& workspace, const HostView& host)
        : workspace_(workspace), host_(host) {}

    ProtectedPlaces find() {
        for (const auto& each : protected_paths()) look(workspace_, each.path);
        const auto modules = workspace_ + "/.git/modules";
        find_modules(modules, 0);
        if (modules_.size() > kMaxModules) {
            out_.held.push_back(modules);
        } else {
            for (const auto& module : modules_)
                for (const auto* name : kOfModule) look(module, name);
        }
        return std::move(out_);
    }

private:
    /// Takes `relative` below `base` as far as it is there.
    void look(const std::string& base, std::string_view relative) {
        auto path = base;
        for (auto rest = relative; !rest.empty();) {
            const auto slash = std::min(rest.find('/'), rest.size());
            const auto name = rest.substr(0, slash);
            rest.remove_prefix(std::min(slash + 1, rest.size()));
            path += '/';
            path += name;
            const auto kind = host_.kind(path);
            // A worktree's `.git` is a file that names the real folder: redirecting it is as good
            // as writing hooks.
            if (kind == PathKind::file && (rest.empty() || name == ".git")) return hold(path);
            if (kind == PathKind::folder && rest.empty()) return hold(path);
            if (kind != PathKind::folder) break;
        }
        out_.unheld.push_back(base + "/" + std::string(relative));
    }

    void hold(const std::string& path) {
        if (std::find(out_.held.begin(), out_.held.end(), path) == out_.held.end())
            out_.held.push_back(path);
    }

    void find_modules(const std::string& folder, int depth) {
        if (depth > kMaxModuleDepth || modules_.size() > kMaxModules) return;
        for (const auto& name : host_.folders(folder)) {
            const auto path = folder + "/" + name;
            const bool module = host_.kind(path + "/HEAD") == PathKind::file;
            if (module) modules_.push_back(path);
            find_modules(module ? path + "/modules" : path, depth + 1);
        }
    }

    const std::string& workspace_;
    const HostView& host_;
    std::vector<std::string> modules_;
    ProtectedPlaces out_;
};

}  // namespace

ProtectedPlaces find_protected(const std::string& workspace, const HostView& host) {
    return Finder(workspace, host).find();
}

}  // namespace volary::cage
