// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/task_scope.hpp"

namespace volary::store {
class Store;
}

namespace volary::app {

/// What nobody asks for: reads every page of the database once after the start, and removes each
/// hour what is only kept for a while. Control thread only; `close()` before destruction.
class Housekeeping {
public:
    Housekeeping(const asio::any_io_executor& executor, store::Store& store);

    void start();
    asio::awaitable<void> close();

private:
    asio::awaitable<void> check_pages();
    asio::awaitable<void> prune();

    asio::any_io_executor executor_;
    store::Store& store_;
    TaskScope scope_;  // Last: its tasks use everything above.
};

}  // namespace volary::app
