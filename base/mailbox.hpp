// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <cstddef>
#include <deque>
#include <utility>

#include <boost/asio/steady_timer.hpp>

namespace volary {

/// What a full mailbox does with one more item; the policy is part of the type (style C10).
enum class Overflow {
    refuse,      ///< push() answers false and the item is not taken: the sender decides
    drop_oldest  ///< the oldest item goes, push() answers true; dropped() counts
};

/// A bounded queue between coroutines of one thread: many writers, one reader.
/// The owner closes it; a closed mailbox still gives what it holds, then `false`.
template <class T, Overflow kOverflow = Overflow::refuse>
class Mailbox {
public:
    Mailbox(const asio::any_io_executor& executor, std::size_t capacity)
        : capacity_(capacity), ready_(executor, asio::steady_timer::time_point::max()) {}

    /// False when it is closed, or full and the policy refuses.
    [[nodiscard]] bool push(T item) {
        if (closed_) return false;
        if (items_.size() >= capacity_) {
            if constexpr (kOverflow == Overflow::refuse) return false;
            items_.pop_front();
            ++dropped_;
        }
        items_.push_back(std::move(item));
        ready_.cancel();
        return true;
    }

    /// Waits for an item and moves it into `out`; false when closed and empty.
    /// Throws operation_aborted when the waiting task is cancelled.
    asio::awaitable<bool> pop(T& out) {
        while (items_.empty() && !closed_) {
            ready_.expires_at(asio::steady_timer::time_point::max());
            co_await ready_.async_wait(as_result);
            const auto state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none)
                throw boost::system::system_error(asio::error::operation_aborted);
        }
        if (items_.empty()) co_return false;
        out = std::move(items_.front());
        items_.pop_front();
        co_return true;
    }

    /// Takes everything that is there now, without waiting.
    std::deque<T> take_all() { return std::exchange(items_, {}); }

    void close() {
        closed_ = true;
        ready_.cancel();
    }

    std::size_t size() const noexcept { return items_.size(); }
    std::size_t dropped() const noexcept { return dropped_; }
    bool closed() const noexcept { return closed_; }

private:
    std::size_t capacity_;
    std::size_t dropped_ = 0;
    bool closed_ = false;
    std::deque<T> items_;
    asio::steady_timer ready_;
};

/// A condition that coroutines of one thread wait for: notify() wakes all who wait now.
/// Wait in a loop on the real condition: `while (!done) co_await changed.wait();`
class Notifier {
public:
    explicit Notifier(const asio::any_io_executor& executor)
        : timer_(executor, asio::steady_timer::time_point::max()) {}

    void notify() { timer_.cancel(); }

    /// Returns at the next notify(); throws operation_aborted when the waiter is cancelled.
    asio::awaitable<void> wait() {
        co_await timer_.async_wait(as_result);
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none)
            throw boost::system::system_error(asio::error::operation_aborted);
    }

    /// The same, but returns at `until` at the latest. For one waiter at a time per deadline:
    /// the earliest deadline wakes all, and each looks at its condition again.
    asio::awaitable<void> wait_until(asio::steady_timer::time_point until) {
        asio::steady_timer deadline(timer_.get_executor(), until);
        auto wake = [this](const boost::system::error_code& error) {
            if (!error) notify();
        };
        deadline.async_wait(std::move(wake));
        co_await wait();
    }

private:
    asio::steady_timer timer_;
};

}  // namespace volary
