// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "daemon/store/rows.hpp"

#include <vector>

namespace volary::store {
class Store;
}

namespace volary::app {

/// Writes the cages' finished connections to the store, many in one commit. Control thread only;
/// `close()` before destruction writes what waits.
class NetLog {
public:
    NetLog(const asio::any_io_executor& executor, store::Store& store);

    void add(store::ConnectionRow row);
    asio::awaitable<void> close();

private:
    asio::awaitable<void> write_down();
    asio::awaitable<void> write_some();

    asio::any_io_executor executor_;
    store::Store& store_;
    std::vector<store::ConnectionRow> waiting_;
    Notifier added_;
    TaskScope scope_;  // Last: its task uses everything above.
};

}  // namespace volary::app
