// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace volary::cage {

/// Decides which refused calls are told: each (call, argument, command) at once when it is new,
/// then at most every 10 s with a count; at most 50 frames a minute, and one for the rest. Pure: it
/// reads no clock. All times are milliseconds of one monotonic clock.
class CallCounter {
public:
    /// Notes one refused call; gives what to tell now.
    std::vector<wire::DeniedCall> add(wire::DeniedCall call, std::uint64_t now);
    /// What became due by `now`; at the end of the cage everything that is left.
    std::vector<wire::DeniedCall> flush(std::uint64_t now);
    std::vector<wire::DeniedCall> finish();
    /// When flush() next has something to say.
    std::optional<std::uint64_t> next_flush() const;

private:
    using Key = std::tuple<std::int32_t, std::uint64_t, std::string>;
    struct Entry {
        wire::DeniedCall call;
        std::uint64_t told = 0;
        std::uint32_t untold = 0;
    };
    bool admit(std::uint64_t now);
    void rest(std::uint32_t count, std::uint64_t now);

    std::map<Key, Entry> entries_;
    std::uint64_t minute_ = 0;
    std::uint32_t told_this_minute_ = 0;
    std::uint32_t rest_ = 0;  ///< too many kinds to tell apart
    std::uint64_t rest_since_ = 0;
};

/// Answers the user notifications of one cage's filter: always no. The calls never run, so nothing
/// of the caller's memory is looked at, and there is nothing to change under our eyes.
///
/// A flood costs its sender two context switches a call and the shim a bounded share of one CPU:
/// after kAnswersPerTurn answers it rests until the turn is over, and who calls on waits.
class Notifier {
public:
    /// The listener as volary-init sent it.
    void attach(UniqueFd listener);

    /// What to poll for POLLIN; -1 while there is no listener or it rests.
    int poll_fd(std::uint64_t now) const;
    /// How long poll() may wait, in milliseconds; -1: for ever.
    int poll_wait(std::uint64_t now) const;

    /// After a poll(): answers some of what waits, and gives what to tell the daemon.
    std::vector<wire::DeniedCall> serve(short revents, std::uint64_t now);
    std::vector<wire::DeniedCall> finish() { return counter_.finish(); }

private:
    std::optional<wire::DeniedCall> answer_one();

    UniqueFd listener_;
    CallCounter counter_;
    std::uint64_t turn_ = 0;
    int answers_ = 0;
};

}  // namespace volary::cage
