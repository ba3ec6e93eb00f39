// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

namespace volary::cage {

/// Lets `burst` things through at once and `per_second` in the long run. Pure: it reads no clock.
class TokenBucket {
public:
    using Time = std::chrono::steady_clock::time_point;

    TokenBucket(unsigned burst, unsigned per_second) noexcept
        : burst_(burst), per_second_(per_second), tokens_(burst) {}

    /// True when one more may pass at `now`; times may only grow.
    bool take(Time now) noexcept {
        if (last_ != Time{}) {
            const std::chrono::duration<double> passed = now - last_;
            tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
        }
        last_ = now;
        if (tokens_ < 1) return false;
        tokens_ -= 1;
        return true;
    }

private:
    double burst_;
    double per_second_;
    double tokens_;
    Time last_{};
};

}  // namespace volary::cage
