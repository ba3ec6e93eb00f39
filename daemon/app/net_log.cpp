// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/net_log.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "daemon/store/store.hpp"

#include <utility>

#include <boost/asio/steady_timer.hpp>

namespace volary::app {
namespace {

// A page that reads the log sees a connection at most this late; a burst costs one commit.
constexpr std::chrono::milliseconds kGather{200};
// Connections that end while the disk takes nothing: beyond it the newest are left out.
constexpr std::size_t kMaxWaiting = 20'000;

}  // namespace

NetLog::NetLog(const asio::any_io_executor& executor, store::Store& store)
    : executor_(executor), store_(store), added_(executor), scope_(executor, log_task_errors()) {
    scope_.spawn("network log", write_down());
}

void NetLog::add(store::ConnectionRow row) {
    if (waiting_.size() >= kMaxWaiting) return;
    waiting_.push_back(std::move(row));
    added_.notify();
}

asio::awaitable<void> NetLog::write_down() {
    while (true) {
        while (waiting_.empty()) co_await added_.wait();
        asio::steady_timer gather(executor_, kGather);
        co_await gather.async_wait(asio::use_awaitable);
        co_await write_some();
    }
}

asio::awaitable<void> NetLog::write_some() {
    auto rows = std::exchange(waiting_, {});
    if (rows.empty()) co_return;
    try {
        co_await store_.add_connections(std::move(rows));
    } catch (const Error& error) {
        log::warning("a part of the network log was not taken", {{"error", error.what()}});
    }
}

asio::awaitable<void> NetLog::close() {
    co_await scope_.close();
    co_await write_some();
}

}  // namespace volary::app
