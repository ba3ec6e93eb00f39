// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace volary {

/// Wall time in milliseconds since 1970-01-01T00:00:00Z; what the log and the API carry as `at`.
using UnixMillis = std::int64_t;

/// Where the program reads the wall clock, so that a test can turn it.
class Clock {
public:
    virtual ~Clock() = default;
    virtual UnixMillis now_ms() const = 0;
};

/// The host's CLOCK_REALTIME.
class SystemClock final : public Clock {
public:
    UnixMillis now_ms() const override;
};

/// A clock that stands still until a test moves it.
class ManualClock final : public Clock {
public:
    explicit ManualClock(UnixMillis start = 1'700'000'000'000) : now_(start) {}
    UnixMillis now_ms() const override { return now_; }
    void advance(std::chrono::milliseconds by) { now_ += by.count(); }

private:
    UnixMillis now_;
};

/// RFC 3339 in UTC with milliseconds, e.g. "2026-11-21T09:30:00.125Z".
std::string format_rfc3339(UnixMillis at);

}  // namespace volary
