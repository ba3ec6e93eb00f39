// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/policy.hpp"
#include "cage/gatekeeper/options.hpp"

#include <string>
#include <vector>

namespace volary::cage {

struct RunCommand {
    CagePolicy policy;
    std::vector<std::string> argv;
    std::string working_directory;  ///< in the cage; empty: the workspace or the home
    GatekeeperConfig network;       ///< the operator's names, credentials, proxy and limits
    /// Keeps the layers of `cow` entries; empty: they are dropped at the end.
    std::string layers;
    bool quiet = false;  ///< do not tell denials on standard error
};

/// `volary cage run`: runs one command in a cage of its own, without a daemon. Standard input,
/// output, error and the terminal are passed through, SIGINT, SIGTERM, SIGHUP and SIGQUIT are
/// forwarded to the command, denials and limits are told on standard error. Gives the exit status
/// by the shell's convention. Throws Error when the cage cannot be made.
asio::awaitable<int> run_command(RunCommand command);

}  // namespace volary::cage
