// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "daemon/store/database.hpp"
#include "daemon/store/task.hpp"

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/async_result.hpp>

namespace volary::store {

/// How a worker treats what has queued up.
enum class Batching {
    one_by_one,   ///< readers: each task on its own
    group_commit  ///< the writer: all that waits shares one transaction and one fsync
};

/// Runs the tasks in one transaction, each in a savepoint so that one that fails harms no other,
/// commits, and only then finishes them, in order. When the transaction itself fails (disk full,
/// I/O error) nothing was applied and every task gets that error.
void commit_group(Database& db, std::vector<std::unique_ptr<Task>>& group);

/// A thread that owns one connection. Tasks run in the order in which they were submitted.
/// Submit from any thread; nobody outside sees its lock.
class Worker {
public:
    /// `name` is the thread's, at most 15 characters.
    Worker(std::string name, std::unique_ptr<Database> db, Batching batching);
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    /// Finishes what waits, closes the connection, joins.
    ~Worker();

    /// Runs `work(Database&)` on the thread and resumes the caller on its own executor. Cannot be
    /// cancelled. Throws Error{busy} when too much waits, Error{unavailable} after close().
    template <class Work>
    auto run(Work work) -> asio::awaitable<std::invoke_result_t<Work&, Database&>>;

    /// Refuses new tasks, finishes those that wait, and returns when the connection is closed.
    asio::awaitable<void> close();

    /// Database::interrupt() on its connection, if that is still open.
    void interrupt();

    /// Tasks that wait or run now.
    std::size_t load() const;

private:
    struct Shared;
    void submit(std::unique_ptr<Task> task);
    void submit_close(std::unique_ptr<Task> task);
    void wait_for_work(std::unique_lock<std::mutex>& lock);
    void gather(std::unique_lock<std::mutex>& lock, std::size_t last_group);
    void loop();

    std::unique_ptr<Shared> shared_;
};

// Not a coroutine on purpose: the lambda stays out of any co_await expression.
template <class Work>
auto Worker::run(Work work) -> asio::awaitable<std::invoke_result_t<Work&, Database&>> {
    using Signature = ResultSignature<std::invoke_result_t<Work&, Database&>>::type;
    auto start = [this](auto handler, Work job) {
        using Made = HandlerTask<decltype(handler), Work>;
        submit(std::make_unique<Made>(std::move(handler), std::move(job)));
    };
    return asio::async_initiate<const asio::use_awaitable_t<>, Signature>(
        std::move(start), asio::use_awaitable, std::move(work)
    );
}

}  // namespace volary::store
