// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/task_scope.hpp"
#include "daemon/agent/worker.hpp"

#include <memory>
#include <optional>
#include <string>

namespace volary::agent {

/// Speaks one runner's protocol with the process in a worker's cage.
///
/// Made once the cage runs, run() once, close() before destruction; the worker outlives it.
class Driver {
public:
    virtual ~Driver() = default;

    /// Works until the invocation's turn is over. Nothing: the process's exit status decides.
    /// Throws Error when the agent breaks the protocol or dies.
    virtual asio::awaitable<std::optional<Ending>> run() = 0;

    /// Ends every background task of the driver.
    virtual asio::awaitable<void> close() = 0;

    /// What an `exec` runner said last on stdout.
    virtual std::string result() const { return {}; }
};

/// An ACP agent on stdio (runner `builtin`): design.md, section 7.
std::unique_ptr<Driver> make_acp_driver(
    const asio::any_io_executor& executor, Worker& worker, Host& host, const Clock& clock
);

/// A plain program (runner `exec`): its input as one JSON object on stdin, stdout and stderr into
/// the log, lines `{"signal": NAME, "data": {...}}` on descriptor 3.
std::unique_ptr<Driver> make_exec_driver(
    const asio::any_io_executor& executor, Worker& worker, Host& host
);

}  // namespace volary::agent
