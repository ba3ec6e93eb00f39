// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/reconciler.hpp"

#include "base/log.hpp"

#include <boost/asio/steady_timer.hpp>

namespace volary::app {
namespace {

constexpr std::chrono::seconds kPeriod{1};

}  // namespace

Reconciler::Reconciler(const asio::any_io_executor& executor, ReconcilerHooks hooks)
    : executor_(executor), hooks_(std::move(hooks)), scope_(executor, log_task_errors()) {}

void Reconciler::start() { scope_.spawn("reconciler", watch()); }

void Reconciler::compare() {
    std::set<InvocationId> missing;
    for (const auto& each : hooks_.unfinished()) {
        const auto& [session, invocation] = each;
        if (hooks_.is_live(invocation)) continue;
        if (!suspects_.contains(invocation)) {
            missing.insert(invocation);
            continue;
        }
        log::error(
            "an invocation had nobody who works on it: it is lost",
            {{"session", session.str()}, {"invocation", invocation.str()}}
        );
        hooks_.lost(each);
    }
    suspects_ = std::move(missing);
}

asio::awaitable<void> Reconciler::watch() {
    asio::steady_timer timer(executor_);
    while (true) {
        timer.expires_after(kPeriod);
        co_await timer.async_wait(asio::use_awaitable);
        compare();
    }
}

asio::awaitable<void> Reconciler::close() { co_await scope_.close(); }

}  // namespace volary::app
