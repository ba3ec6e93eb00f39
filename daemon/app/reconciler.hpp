// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ids.hpp"
#include "base/task_scope.hpp"

#include <functional>
#include <set>
#include <utility>
#include <vector>

namespace volary::app {

/// An invocation that a session's state calls unfinished.
using Unfinished = std::pair<SessionId, InvocationId>;

/// What the reconciler compares, and what it says.
struct ReconcilerHooks {
    std::function<std::vector<Unfinished>()> unfinished;
    std::function<bool(const InvocationId&)> is_live;  ///< something works on it
    std::function<void(const Unfinished&)> lost;       ///< nothing does
};

/// Once a second compares what sessions say is at work with what is: a run never stands at
/// "working" when nothing works. Control thread only; `close()` before destruction.
class Reconciler {
public:
    Reconciler(const asio::any_io_executor& executor, ReconcilerHooks hooks);

    void start();
    /// One comparison. An invocation is lost when two in a row have found nobody: between the two
    /// its last word may have been on its way into the log.
    void compare();
    asio::awaitable<void> close();

private:
    asio::awaitable<void> watch();

    asio::any_io_executor executor_;
    ReconcilerHooks hooks_;
    std::set<InvocationId> suspects_;
    TaskScope scope_;  // Last: its task uses everything above.
};

}  // namespace volary::app
