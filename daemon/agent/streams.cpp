// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/streams.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace volary::agent {
namespace {

using cage::Stream;

class StreamTransport final : public acp::Transport {
public:
    explicit StreamTransport(cage::RunnerStreams& streams) : streams_(streams) {}

    asio::awaitable<std::optional<acp::Received>> read() override {
        auto piece = co_await streams_.read(Stream::out);
        if (!piece || stopped_) co_return std::nullopt;
        if (piece->dropped > 0)
            throw Error(
                Errc::io, fmt::format("{} bytes of what the agent said are lost", piece->dropped)
            );
        co_return acp::Received{std::move(piece->bytes), piece->end};
    }

    asio::awaitable<std::string> write(std::deque<acp::OutLine> lines) override {
        for (auto& line : lines)
            co_await streams_.write(std::move(line.text), std::move(line.tag), line.sticky);
        co_return std::string();
    }

    void stop() override {
        stopped_ = true;
        streams_.interrupt(Stream::out);
    }

    void close() override {
        stop();
        streams_.close_input();
    }

private:
    cage::RunnerStreams& streams_;
    bool stopped_ = false;
};

}  // namespace

asio::awaitable<void> read_chunks(cage::RunnerStreams* streams, Stream stream, TakeChunk take) {
    std::string held;
    std::uint64_t end = 0;
    while (true) {
        auto piece = co_await streams->read(stream);
        if (!piece) break;
        if (piece->dropped > 0) held += fmt::format("\n[{} bytes are lost here]\n", piece->dropped);
        held += piece->bytes;
        const auto tail = utf8_unfinished_tail(held);
        end = piece->end;
        auto chunk = held.substr(0, held.size() - tail);
        held.erase(0, chunk.size());
        if (!chunk.empty()) co_await take(std::move(chunk), end - tail);
    }
    if (!held.empty()) co_await take(std::move(held), end);
}

asio::awaitable<void> read_lines(
    cage::RunnerStreams* streams, Stream stream, std::uint64_t from, std::size_t max_line,
    TakeChunk take
) {
    std::string held;
    auto at = from;  // place of the first held byte
    while (true) {
        auto piece = co_await streams->read(stream);
        if (!piece) break;
        if (piece->dropped > 0) held.clear();
        held += piece->bytes;
        at = piece->end - held.size();
        for (auto end = held.find('\n'); end != std::string::npos || held.size() > max_line;
             end = held.find('\n')) {
            const auto length = std::min(end, max_line);
            auto line = held.substr(0, length);
            const auto used = length == end ? length + 1 : length;
            held.erase(0, used);
            at += used;
            co_await take(std::move(line), at);
        }
    }
    at += held.size();
    if (!held.empty()) co_await take(std::move(held), at);
}

std::unique_ptr<acp::Transport> make_stream_transport(cage::RunnerStreams& streams) {
    return std::make_unique<StreamTransport>(streams);
}

}  // namespace volary::agent
