// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/spawner.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace volary::bench {

/// A program that isolates a command in its own way, ready to start.
struct Peer {
    std::string name;
    std::vector<std::string> argv;            ///< empty: not installed
    std::shared_ptr<const std::string> root;  ///< a folder that goes with the last copy
    std::vector<std::string> after;           ///< what to run once when all is measured
    std::vector<std::pair<int, int>> fds;
    std::vector<UniqueFd> held;  ///< what `fds` borrows
    /// bwrap reads a data descriptor to its end: it is made anew for each start.
    bool once = false;
};

/// The policy of every sample: one network rule, no workspace.
CagePolicy sample_policy();

/// VOLARY_BIN, or ../../bin beside this program.
cage::SpawnerPaths programs();

/// bwrap with our own argument list, `--unshare-net` instead of the shim's namespace, and without
/// volary-init.
Peer bare_bwrap(const cage::SpawnerPaths& paths);

/// unshare, firejail, podman with crun and with runc, and srt, each with the nearest thing to the
/// same cage; those that are not installed have no argv. srt is looked for in PATH.
std::vector<Peer> other_peers();

/// From the start to the first byte that `/bin/echo` writes, in ms; `whole`: to its end. Throws
/// Error with the last line that the peer said when it writes nothing.
double time_peer(const Peer& peer, bool whole);

double median(std::vector<double> values);
double percentile(std::vector<double> values, double part);

}  // namespace volary::bench
