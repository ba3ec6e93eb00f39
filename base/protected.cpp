// SPDX-License-Identifier: Apache-2.0
#include "base/protected.hpp"

#include <algorithm>
#include <array>

namespace volary {
namespace {

constexpr std::string_view kModules = ".git/modules";

constexpr auto kPaths = std::to_array<ProtectedPath>({
    {".volary", "the project file decides what later cages may do"},
    {".kaged", "the project file of an older name"},
    {".git/hooks", "git runs them"},
    {".git/config",
     "names programs that git runs (core.hooksPath, core.fsmonitor, aliases, filters)"},
    {".git/config.worktree", "as .git/config"},
    {".git/commondir", "leads git to another config"},
    {".husky", "git hooks of a project"},
    {".bashrc", "a shell runs it"},
    {".bash_profile", "a shell runs it"},
    {".bash_login", "a shell runs it"},
    {".bash_logout", "a shell runs it"},
    {".profile", "a shell runs it"},
    {".zshenv", "a shell runs it"},
    {".zprofile", "a shell runs it"},
    {".zshrc", "a shell runs it"},
    {".zlogin", "a shell runs it"},
    {".zlogout", "a shell runs it"},
    {".config/fish", "a shell runs it"},
    {".envrc", "direnv runs it on entering the folder"},
    {".mise.toml", "mise sets the environment on entering the folder"},
    {".vscode/tasks.json", "an editor runs tasks on opening the folder"},
    {".vscode/settings.json", "names programs that an editor runs"},
    {".vscode/launch.json", "an editor runs it"},
    {".devcontainer", "an editor runs its commands on the host"},
    {".devcontainer.json", "an editor runs its commands on the host"},
    {".idea", "run configurations of an editor"},
    {".exrc", "an editor runs it"},
    {".vimrc", "an editor runs it"},
    {".nvimrc", "an editor runs it"},
    {".nvim.lua", "an editor runs it"},
    {".dir-locals.el", "an editor evaluates it"},
    {".claude/settings.json", "hooks that another agent runs on the host"},
    {".mcp.json", "servers that another agent starts on the host"},
});

bool is_within(std::string_view path, std::string_view folder) noexcept {
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

/// `hooks`, `config` or below, in the git folder of a submodule; submodules have names with slashes
/// and submodules of their own.
bool is_in_module(std::string_view path) noexcept {
    if (!is_within(path, kModules) || path.size() <= kModules.size()) return false;
    auto rest = path.substr(kModules.size() + 1);
    for (auto slash = rest.find('/'); slash != rest.npos; slash = rest.find('/')) {
        rest.remove_prefix(slash + 1);
        for (const std::string_view name : {"hooks", "config", "config.worktree", "commondir"})
            if (is_within(rest, name)) return true;
    }
    return false;
}

}  // namespace

std::span<const ProtectedPath> protected_paths() noexcept { return kPaths; }

bool is_protected(std::string_view relative) noexcept {
    // A worktree's or submodule's `.git` is a file that names the real folder; whether it is one
    // only a look can tell, so it is never written from outside of git.
    if (relative == ".git" || is_in_module(relative)) return true;
    return std::any_of(kPaths.begin(), kPaths.end(), [&](const ProtectedPath& each) {
        return is_within(relative, each.path);
    });
}

bool holds_protected(std::string_view relative) noexcept {
    if (is_within(kModules, relative) || is_within(relative, kModules)) return true;
    return std::any_of(kPaths.begin(), kPaths.end(), [&](const ProtectedPath& each) {
        return is_within(each.path, relative);
    });
}

}  // namespace volary
