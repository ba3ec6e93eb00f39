// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <memory>
#include <string>

namespace volary::acp {
class Connection;
}

namespace volary::builtin {

/// volary-agent: the agent side of ACP on one connection, any number of sessions, one turn at a
/// time in each (docs/agents.md).
///
/// Lives on the executor's thread. `client` must outlive it; close() must have ended before it is
/// destroyed.
class Agent {
public:
    /// `folder`: where conversations are kept, `<folder>/<session id>.json`.
    Agent(asio::any_io_executor executor, acp::Connection& client, std::string folder);
    Agent(const Agent&) = delete;
    Agent& operator=(const Agent&) = delete;
    ~Agent();

    /// Cancels every turn, with the processes of its tools, and waits for their end.
    asio::awaitable<void> close();

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

/// The whole program: ACP on standard input and output until standard input ends or SIGTERM.
/// Returns the exit code.
int run_agent(const std::string& folder);

}  // namespace volary::builtin
