// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <type_traits>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>

namespace volary {

/// One thread for calls that block on the file system, one at a time in the order of the calls.
/// Call run() from the control thread; what `work` uses must be its own or constant. A call that
/// has begun cannot be cancelled. The destructor waits for what runs.
class SideThread {
public:
    SideThread() : pool_(1) {}
    SideThread(const SideThread&) = delete;
    SideThread& operator=(const SideThread&) = delete;
    ~SideThread() { pool_.join(); }

    /// Runs `work()` on the thread and resumes the caller on its own executor, with its result or
    /// what it throws.
    // Not a coroutine on purpose: `work` stays out of any co_await expression.
    template <class Work>
    auto run(Work work) -> asio::awaitable<std::invoke_result_t<Work&>> {
        return asio::co_spawn(pool_, call(std::move(work)), asio::use_awaitable);
    }

private:
    template <class Work>
    static auto call(Work work) -> asio::awaitable<std::invoke_result_t<Work&>> {
        co_return work();
    }

    asio::thread_pool pool_;
};

}  // namespace volary
