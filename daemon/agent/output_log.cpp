// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/output_log.hpp"

#include "cage/cage.hpp"
#include "daemon/agent/streams.hpp"

namespace volary::agent {
namespace {

constexpr std::size_t kMaxOutput = std::size_t{8} << 20U;  // more than anybody scrolls through

}  // namespace

asio::awaitable<void> OutputLog::take(std::string chunk, std::optional<StreamPlace> place) {
    logged_ += chunk.size();
    auto origin = worker_.origin;
    origin.place = place;
    if (logged_ <= kMaxOutput) {
        co_await host_.output(std::move(origin), stream_, std::move(chunk));
    } else {
        if (!std::exchange(told_, true))
            host_.limited(
                worker_.origin, worker_.cage_id, "output",
                stream_ + " printed more than 8 MiB; the rest is not kept"
            );
        // Nothing of it will be asked for again.
        if (place) worker_.forget(*place);
    }
}

asio::awaitable<void> OutputLog::drain(cage::Stream stream) {
    auto chunk = [this, stream](std::string text, std::uint64_t end) {
        return take(std::move(text), worker_.place(stream, end));
    };
    return read_chunks(&worker_.cage->streams(), stream, std::move(chunk));
}

}  // namespace volary::agent
