// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

struct CageSpec;

/// The programs of the chain, as absolute paths.
struct SpawnerPaths {
    std::string bwrap, shim, init;
    std::string podman, crun;  ///< of the back end `podman`; empty: not installed
    std::string firejail;      ///< the same
};

/// What this host gives to cages, asked once.
struct HostFacts {
    bool bind_by_fd = false;  ///< bwrap has --bind-fd
    bool notify = false;      ///< there are listeners, and Landlock: refused calls are told
    int landlock_abi = 0;     ///< 0: no Landlock
};

/// Asks bwrap, volary-init and the kernel. Starts two short programs. Throws Error{io} when one
/// cannot be started.
HostFacts find_host_facts(const SpawnerPaths& paths);

/// Why this podman cannot be used, from the words of `podman --version`; empty: it can. Pure.
std::string podman_problem(std::string_view version);
/// Asks it. Throws Error{io} when it cannot be started.
std::string find_podman_problem(const std::string& podman);

/// What holds a cage of this spec here, in words for the cage card.
std::vector<std::string> layer_words(const CageSpec& spec, const HostFacts& host);

}  // namespace volary::cage
