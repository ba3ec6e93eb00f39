// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <string>
#include <string_view>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>

namespace volary {

/// True for the exception that cancellation ends a coroutine with.
bool is_cancellation(const std::exception_ptr& error);

/// The owner of background coroutines. No coroutine in this program outlives its scope.
///
/// Declare it as the last member of the class whose fields its tasks use: members die in
/// reverse order, so tasks are gone before what they refer to. Call `co_await close()` before
/// destruction; the destructor only checks that this was done.
/// Not thread-safe: use it from the executor it was given.
class TaskScope {
public:
    /// `on_error` hears about a task that ended with anything but cancellation.
    using OnError = std::function<void(std::string_view task, std::exception_ptr error)>;

    TaskScope(asio::any_io_executor executor, OnError on_error);
    TaskScope(const TaskScope&) = delete;
    TaskScope& operator=(const TaskScope&) = delete;
    ~TaskScope();

    /// Names one task of this scope for cancel(); never used twice.
    using TaskId = std::uint64_t;

    /// Starts `task`. Throws Error{busy} when the scope is closing.
    TaskId spawn(std::string name, asio::awaitable<void> task);

    /// Cancels one task, which ends soon after; nothing when it has ended already.
    void cancel(TaskId task);

    /// Cancels every task, refuses new ones, and returns when the last has ended.
    asio::awaitable<void> close();

    std::size_t size() const noexcept { return tasks_.size(); }
    bool closing() const noexcept { return closing_; }
    const asio::any_io_executor& executor() const noexcept { return executor_; }

private:
    struct Task {
        TaskId id = 0;
        std::string name;
        asio::cancellation_signal cancel;
    };
    void finished(std::list<Task>::iterator task, const std::exception_ptr& error);

    asio::any_io_executor executor_;
    OnError on_error_;
    std::list<Task> tasks_;  // A list: signals must not move while tasks hold their slots.
    asio::steady_timer drained_;
    TaskId last_id_ = 0;
    bool closing_ = false;
};

/// An OnError that logs `task` and its error at error level.
TaskScope::OnError log_task_errors();

}  // namespace volary
