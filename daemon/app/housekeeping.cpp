// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/housekeeping.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "daemon/store/store.hpp"

#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

namespace volary::app {
namespace {

constexpr std::chrono::hours kPrune{1};

}  // namespace

Housekeeping::Housekeeping(const asio::any_io_executor& executor, store::Store& store)
    : executor_(executor), store_(store), scope_(executor, log_task_errors()) {}

void Housekeeping::start() {
    scope_.spawn("check of the database", check_pages());
    scope_.spawn("prune", prune());
}

asio::awaitable<void> Housekeeping::check_pages() {
    std::vector<std::string> problems;
    try {
        problems = co_await store_.check_pages();
    } catch (const Error& error) {
        // Ended by close(), or no descriptor or memory for it: status then says "not yet".
        log::info("the database was not checked", {{"reason", error.what()}});
    }
    for (const auto& problem : problems)
        log::error(
            "the database is damaged: stop volary, then restore a backup (volary backup restore) "
            "or "
            "save what can be read (volary backup salvage)",
            {{"problem", problem}}
        );
}

asio::awaitable<void> Housekeeping::prune() {
    asio::steady_timer timer(executor_);
    while (true) {
        try {
            co_await store_.prune();
        } catch (const Error& error) {
            log::warning("old rows were not removed", {{"error", error.what()}});
        }
        timer.expires_after(kPrune);
        co_await timer.async_wait(asio::use_awaitable);
    }
}

asio::awaitable<void> Housekeeping::close() {
    store_.end_check();
    co_await scope_.close();
}

}  // namespace volary::app
