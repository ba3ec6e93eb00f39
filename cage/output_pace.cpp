// SPDX-License-Identifier: Apache-2.0
#include "cage/output_pace.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

namespace volary::cage {
namespace {

using Stream = asio::posix::stream_descriptor;

/// A pipe holds this much (pipe(7)).
constexpr std::size_t kPipe = std::size_t{64} * 1024;

bool cancelled(const asio::cancellation_state& state) {
    return state.cancelled() != asio::cancellation_type::none;
}

}  // namespace

std::size_t OutputPace::step() const noexcept {
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(per_second_.value / 10, 1, kPipe));
}

std::chrono::steady_clock::time_point OutputPace::moved(
    std::size_t count, std::chrono::steady_clock::time_point now
) noexcept {
    const auto rate = static_cast<double>(std::max<std::uint64_t>(per_second_.value, 1));
    const std::chrono::duration<double> takes(static_cast<double>(count) / rate);
    next_ = std::max(next_, now) + std::chrono::duration_cast<std::chrono::nanoseconds>(takes);
    return next_;
}

asio::awaitable<void> OutputPace::relay(
    std::shared_ptr<OutputPace> pace, UniqueFd from, UniqueFd to
) {
    const auto executor = co_await asio::this_coro::executor;
    Stream in(executor, from.release());
    Stream out(executor, to.release());
    asio::steady_timer timer(executor);
    while (true) {
        const auto moved = ::splice(
            in.native_handle(), nullptr, out.native_handle(), nullptr, pace->step(),
            SPLICE_F_NONBLOCK | SPLICE_F_MOVE
        );
        if (moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR)) co_return;
        if (moved > 0) {
            const auto now = std::chrono::steady_clock::now();
            timer.expires_at(pace->moved(static_cast<std::size_t>(moved), now));
            co_await timer.async_wait(as_result);
        } else {
            co_await in.async_wait(Stream::wait_read, as_result);
            co_await out.async_wait(Stream::wait_write, as_result);
        }
        const auto state = co_await asio::this_coro::cancellation_state;
        if (cancelled(state)) co_return;
    }
}

}  // namespace volary::cage
