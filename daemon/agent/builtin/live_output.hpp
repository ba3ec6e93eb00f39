// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/steady_timer.hpp>

namespace volary::builtin {

/// Shows what a running tool prints, every byte up to kMost once and in order, in pieces that are
/// worth a message: a program that writes byte by byte does not make a message of each.
///
/// Control thread only. Shared, because its timer may still have to tell that it was cancelled.
class LiveOutput : public std::enable_shared_from_this<LiveOutput> {
public:
    /// What waits longer than this is shown: ten pictures a second look live.
    static constexpr std::chrono::milliseconds kLongest{100};
    /// What is larger than this is shown at once: one write(2) of a chatty program.
    static constexpr std::size_t kPiece = 4096;
    /// Of one call: who listens may be slower than the tool prints, and what waits for him is
    /// memory of the cage. A line then says that the rest is not shown.
    static constexpr std::size_t kMost = std::size_t{1} << 20U;

    /// `show` hears valid UTF-8, never an empty piece.
    using Show = std::function<void(std::string_view text)>;

    LiveOutput(const asio::any_io_executor& executor, Show show)
        : timer_(executor), show_(std::move(show)) {}

    void add(std::string_view bytes);

    /// Shows what is left and nothing after that.
    void finish();

private:
    /// Shows what waits, but for the start of a character whose end has not come.
    void show_whole_characters();
    void arm();

    asio::steady_timer timer_;
    Show show_;
    std::string waiting_;
    std::size_t taken_ = 0;
    bool armed_ = false;
};

}  // namespace volary::builtin
