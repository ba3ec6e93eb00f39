// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/output_log.hpp"

#include "daemon/agent/streams.hpp"

namespace volary::agent {
namespace {

constexpr std::size_t kMaxOutput = std::size_t{8} << 20U;  // more than anybody scrolls through

}  // namespace

asio::awaitable<void> OutputLog::take(std::string chunk) {
    logged_ += chunk.size();
    if (logged_ <= kMaxOutput) {
        co_await host_.output(worker_.origin, stream_, std::move(chunk));
    } else if (!std::exchange(told_, true)) {
        host_.limited(
            worker_.origin, worker_.cage_id, "output",
            stream_ + " printed more than 8 MiB; the rest is not kept"
        );
    }
}

asio::awaitable<void> OutputLog::drain(UniqueFd fd) {
    auto chunk = [this](std::string text) { return take(std::move(text)); };
    return read_chunks(std::move(fd), std::move(chunk));
}

}  // namespace volary::agent
