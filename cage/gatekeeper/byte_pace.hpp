// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>

namespace volary::cage {

/// Lets the bytes of one cage through at a rate: a tenth of a second's worth at once, the rate in
/// the long run. A token bucket kept as the time at which all that moved is paid for, so that the
/// control thread and the data plane share it without a lock. Pure: it reads no clock.
class BytePace {
public:
    using Time = std::chrono::steady_clock::time_point;
    using Wait = std::chrono::nanoseconds;

    /// Before anybody else uses it; 0: no limit.
    void limit(std::uint64_t per_second) noexcept { per_second_ = per_second; }

    /// How long nothing may move at `now`.
    Wait wait(Time now) const noexcept {
        if (per_second_ == 0) return Wait{0};
        const auto ahead = Wait(paid_.load(std::memory_order_relaxed)) - now.time_since_epoch();
        return std::max(ahead - kBurst, Wait{0});
    }

    /// How many bytes to move at most in one go at `now`; 0 while there is something to wait for.
    std::size_t allowed(Time now) const noexcept {
        if (per_second_ == 0) return std::numeric_limits<std::size_t>::max();
        const auto ahead = Wait(paid_.load(std::memory_order_relaxed)) - now.time_since_epoch();
        if (ahead > kBurst) return 0;
        const std::chrono::duration<double> credit = kBurst - std::max(ahead, Wait{0});
        const auto bytes = credit.count() * static_cast<double>(per_second_);
        // Never so few that each costs a wake-up.
        return std::max(static_cast<std::size_t>(bytes), kLeast);
    }

    /// Notes what moved at `now`.
    void charge(std::uint64_t bytes, Time now) noexcept {
        if (per_second_ == 0) return;
        const auto price = static_cast<double>(bytes) / static_cast<double>(per_second_);
        const auto cost = std::chrono::duration_cast<Wait>(std::chrono::duration<double>(price));
        const auto from = Wait(now.time_since_epoch()).count();
        auto paid = paid_.load(std::memory_order_relaxed);
        while (!paid_.compare_exchange_weak(
            paid, std::max(paid, from) + cost.count(), std::memory_order_relaxed
        )) {
        }
    }

private:
    static constexpr Wait kBurst = std::chrono::milliseconds{100};
    static constexpr std::size_t kLeast = 4096;

    std::uint64_t per_second_ = 0;
    std::atomic<std::int64_t> paid_{0};  ///< nanoseconds of the steady clock
};

}  // namespace volary::cage
