// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

namespace volary {

/// A path of a workspace that no cage writes: what somebody outside of the cage runs or trusts
/// later without looking at it. Code that is built or tested on purpose (Makefile, package.json, CI
/// files, .pre-commit-config.yaml) is not here: it is the agent's work, and reviewed as such.
struct ProtectedPath {
    std::string_view path;    ///< below the workspace
    std::string_view reason;  ///< who would run it
};

/// All of them. `.git/modules/*/hooks` and `config` (submodules) belong to it as well; they are
/// found by looking (is_protected() knows them).
std::span<const ProtectedPath> protected_paths() noexcept;

/// True when `relative` (a normal path below the workspace) is a protected path or below one.
bool is_protected(std::string_view relative) noexcept;

/// True when a protected path may lie below `relative`: whoever removes or renames it takes that
/// along.
bool holds_protected(std::string_view relative) noexcept;

}  // namespace volary
