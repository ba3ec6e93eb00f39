// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/bytes.hpp"
#include "base/unique_fd.hpp"

#include <chrono>
#include <memory>

namespace volary::cage {

/// `limits.output`: what the streams of one cage may carry in a second, together. More is neither
/// dropped nor buffered: the writer waits on its full pipe.
class OutputPace {
public:
    explicit OutputPace(ByteCount per_second) : per_second_(per_second) {}

    /// Moves from one pipe to another until either end is closed. Both non-blocking.
    static asio::awaitable<void> relay(
        std::shared_ptr<OutputPace> pace, UniqueFd from, UniqueFd to
    );

    /// The most that may be moved at once: a tenth of a second's worth.
    std::size_t step() const noexcept;
    /// Tells that `count` bytes were moved at `now`; when the next may be.
    std::chrono::steady_clock::time_point moved(
        std::size_t count, std::chrono::steady_clock::time_point now
    ) noexcept;

private:
    ByteCount per_second_;
    std::chrono::steady_clock::time_point next_{};
};

}  // namespace volary::cage
