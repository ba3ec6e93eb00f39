// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// What a policy may need of the program that builds the cage.
enum class Guarantee {
    namespaces,
    empty_root,
    held_sources,
    held_targets,
    other_places,
    sized_folders,
    seccomp,
    seccomp_names,
    notify,
    landlock,
    no_network,
    gatekeeper,
    ports,
    cow,
    kept,
    devices,
    signal_pipe,
    live_binds,
    cgroup,
    freeze,
    proven_end
};

/// One row of the table of docs/cage.md.
struct GuaranteeRow {
    Guarantee guarantee;
    std::string_view name;   ///< as `lacking` and the documentation spell it
    std::string_view words;  ///< what is meant
    /// In the order of CageBackend: bwrap, native, podman, firejail.
    std::array<bool, 4> given;
};

/// Every guarantee, in the order of the documentation.
std::span<const GuaranteeRow> guarantees() noexcept;

bool gives(CageBackend backend, Guarantee guarantee) noexcept;

/// What `policy` needs and `backend` does not give, one sentence each, naming the rule, where it
/// was written, and the guarantee. Empty: this back end may be used. A disabled policy needs
/// nothing. Pure.
std::vector<std::string> lacking(const CagePolicy& policy, CageBackend backend);

/// Throws Error{invalid} with all that policy.backend lacks for `policy`.
void require_backend(const CagePolicy& policy);

/// Throws Error{invalid} when an agent is to reach `names` of the daemon and the back end has no
/// gatekeeper.
void require_services(CageBackend backend, const std::vector<std::string>& names);

/// Throws Error{unavailable} when a cage would have the host's root without Landlock (ABI 0).
void require_root(CageBackend backend, int landlock_abi);

}  // namespace volary::cage
