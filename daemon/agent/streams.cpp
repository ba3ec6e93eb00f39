// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/streams.hpp"

#include "base/bytes.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

namespace volary::agent {
namespace {

constexpr std::size_t kChunk = 16 * 1024;  // one event: a screenful or ten, not a file

/// A pipe, and what came out of it and is not taken yet.
struct Source {
    Source(const asio::any_io_executor& executor, UniqueFd fd) : stream(executor, fd.release()) {}

    /// Adds what comes next to `held`; false at the end of the pipe.
    asio::awaitable<bool> more() {
        const auto [error, count] =
            co_await stream.async_read_some(asio::buffer(buffer), as_result);
        if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
        if (!error) held.append(buffer, 0, count);
        co_return !error;
    }

    asio::posix::stream_descriptor stream;
    std::string buffer = std::string(kChunk, '\0');
    std::string held;
};

}  // namespace

asio::awaitable<void> read_chunks(UniqueFd fd, TakeChunk take) {
    const auto executor = co_await asio::this_coro::executor;
    Source source(executor, std::move(fd));
    while (true) {
        const bool more = co_await source.more();
        if (!more) break;
        const auto tail = utf8_unfinished_tail(source.held);
        auto chunk = source.held.substr(0, source.held.size() - tail);
        source.held.erase(0, chunk.size());
        if (!chunk.empty()) co_await take(std::move(chunk));
    }
    if (!source.held.empty()) co_await take(std::move(source.held));
}

asio::awaitable<void> read_lines(UniqueFd fd, std::size_t max_line, TakeChunk take) {
    const auto executor = co_await asio::this_coro::executor;
    Source source(executor, std::move(fd));
    auto& held = source.held;
    while (true) {
        const bool more = co_await source.more();
        if (!more) break;
        for (auto end = held.find('\n'); end != std::string::npos || held.size() > max_line;
             end = held.find('\n')) {
            const auto length = std::min(end, max_line);
            auto line = held.substr(0, length);
            held.erase(0, length == end ? length + 1 : length);
            co_await take(std::move(line));
        }
    }
    if (!held.empty()) co_await take(std::move(held));
}

asio::awaitable<void> write_all(UniqueFd fd, std::string text) {
    const auto executor = co_await asio::this_coro::executor;
    asio::posix::stream_descriptor stream(executor, fd.release());
    co_await asio::async_write(stream, asio::buffer(text), as_result);
}

}  // namespace volary::agent
