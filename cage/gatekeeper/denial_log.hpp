// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/denial.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace volary::cage {

/// Turns what one cage tries into Denials worth telling: each (layer, what) at once when it is
/// new, then at most every 10 s with a count; at most 50 a minute in all, and one summary of the
/// rest. Pure: it reads no clock.
class DenialLog {
public:
    using Time = std::chrono::steady_clock::time_point;

    explicit DenialLog(CageId cage) : cage_(std::move(cage)) {}

    /// Notes one attempt (`denial.cage` and `count` are filled in); gives what to tell now.
    std::vector<Denial> add(Denial denial, Time now);

    /// What became due by `now`.
    std::vector<Denial> flush(Time now);

    /// When flush() next has something to say; nothing when all is told.
    std::optional<Time> next_flush() const;

private:
    struct Entry {
        Denial denial;
        Time told;
        std::uint32_t untold = 0;
    };
    bool admit(Time now);

    CageId cage_;
    std::map<std::pair<std::string, std::string>, Entry> entries_;
    Time minute_{};
    std::uint32_t told_this_minute_ = 0;
    std::uint32_t suppressed_ = 0;
};

}  // namespace volary::cage
