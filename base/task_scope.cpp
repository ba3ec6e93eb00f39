// SPDX-License-Identifier: Apache-2.0
#include "base/task_scope.hpp"

#include "base/error.hpp"
#include "base/log.hpp"

#include <cassert>
#include <iterator>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/multiple_exceptions.hpp>
#include <boost/system/system_error.hpp>

namespace volary {

bool is_cancellation(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const boost::system::system_error& e) {
        return e.code() == asio::error::operation_aborted;
    } catch (const asio::multiple_exceptions& e) {
        // Parallel waits (`a && b`) that are cancelled all fail; the first failure is the cause.
        return is_cancellation(e.first_exception());
    } catch (...) {
        return false;
    }
}

TaskScope::TaskScope(asio::any_io_executor executor, OnError on_error)
    : executor_(std::move(executor)), on_error_(std::move(on_error)), drained_(executor_) {
    drained_.expires_at(asio::steady_timer::time_point::max());
}

TaskScope::~TaskScope() { assert(tasks_.empty() && "close() the scope before it goes"); }

TaskScope::TaskId TaskScope::spawn(std::string name, asio::awaitable<void> task) {
    if (closing_) throw Error(Errc::busy, "scope is closing: " + name);
    auto& slot = tasks_.emplace_back();
    slot.id = ++last_id_;
    slot.name = std::move(name);
    const auto self = std::prev(tasks_.end());
    auto on_done = [this, self](const std::exception_ptr& error) { finished(self, error); };
    asio::co_spawn(
        executor_, std::move(task),
        asio::bind_cancellation_slot(self->cancel.slot(), std::move(on_done))
    );
    return last_id_;
}

void TaskScope::cancel(TaskId task) {
    for (auto& each : tasks_) {
        if (each.id != task) continue;
        each.cancel.emit(asio::cancellation_type::terminal);
        return;
    }
}

asio::awaitable<void> TaskScope::close() {
    closing_ = true;
    // The caller is often being cancelled itself; this wait must not be.
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    for (auto& task : tasks_) task.cancel.emit(asio::cancellation_type::terminal);
    while (!tasks_.empty()) {
        drained_.expires_at(asio::steady_timer::time_point::max());
        co_await drained_.async_wait(as_result);
    }
}

void TaskScope::finished(std::list<Task>::iterator task, const std::exception_ptr& error) {
    const auto name = std::move(task->name);
    tasks_.erase(task);
    if (tasks_.empty()) drained_.cancel();
    if (error && !is_cancellation(error)) on_error_(name, error);
}

TaskScope::OnError log_task_errors() {
    return [](std::string_view task, const std::exception_ptr& error) {
        log::error("task failed", {{"task", std::string(task)}, {"error", describe(error)}});
    };
}

}  // namespace volary
