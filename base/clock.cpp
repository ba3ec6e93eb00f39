// SPDX-License-Identifier: Apache-2.0
#include "base/clock.hpp"

#include <ctime>

#include <fmt/format.h>

namespace volary {

UnixMillis SystemClock::now_ms() const {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

std::string format_rfc3339(UnixMillis at) {
    auto millis = at % 1000;
    auto seconds = at / 1000;
    if (millis < 0) {
        millis += 1000;
        --seconds;
    }
    const std::time_t time = seconds;
    std::tm utc{};
    ::gmtime_r(&time, &utc);
    return fmt::format(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1,
        utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, millis
    );
}

}  // namespace volary
