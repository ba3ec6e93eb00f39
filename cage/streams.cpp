// SPDX-License-Identifier: Apache-2.0
#include "cage/streams.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

namespace volary::cage {
namespace {

/// Of one stream, on its way to a reader: what a pipe holds.
constexpr std::uint64_t kWindow = std::uint64_t{64} * 1024;
/// Input that a runner has not taken yet; more waits here.
constexpr std::uint64_t kInputWindow = std::uint64_t{256} * 1024;
constexpr std::size_t kChunk = std::size_t{16} * 1024;

using Pipe = asio::posix::stream_descriptor;

class PipeStreams final : public RunnerStreams {
public:
    PipeStreams(const asio::any_io_executor& executor, UniqueFd in, UniqueFd outputs[])
        : in_(executor) {
        if (in) in_.assign(in.release());
        for (std::size_t i = 0; i < wire::kOutputs; ++i) {
            sources_[i].pipe = std::make_unique<Pipe>(executor);
            if (outputs[i]) sources_[i].pipe->assign(outputs[i].release());
        }
    }

    asio::awaitable<std::optional<StreamPiece>> read(Stream stream) override {
        auto& source = sources_[static_cast<std::size_t>(stream)];
        if (!source.pipe->is_open()) co_return std::nullopt;
        std::string bytes(kChunk, '\0');
        const auto [error, count] =
            co_await source.pipe->async_read_some(asio::buffer(bytes), as_result);
        const bool aborted = error == asio::error::operation_aborted && !source.interrupted;
        if (aborted) throw boost::system::system_error(error);
        if (error) {
            boost::system::error_code ignored;
            source.pipe->close(ignored);
            co_return std::nullopt;
        }
        bytes.resize(count);
        source.at += count;
        co_return StreamPiece{std::move(bytes), source.at, 0};
    }

    void interrupt(Stream stream) override {
        boost::system::error_code ignored;
        auto& source = sources_[static_cast<std::size_t>(stream)];
        source.interrupted = true;
        source.pipe->close(ignored);
    }

    void ack(Stream, std::uint64_t) override {}

    asio::awaitable<void> write(std::string bytes, std::string, bool) override {
        if (!in_.is_open()) co_return;
        const auto [error, count] = co_await asio::async_write(in_, asio::buffer(bytes), as_result);
        if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
        if (error) close_input();
    }

    void close_input() override {
        boost::system::error_code ignored;
        in_.close(ignored);
    }

private:
    struct Source {
        std::unique_ptr<Pipe> pipe;
        std::uint64_t at = 0;
        bool interrupted = false;
    };
    Pipe in_;
    Source sources_[wire::kOutputs];
};

}  // namespace

std::unique_ptr<RunnerStreams> make_pipe_streams(
    const asio::any_io_executor& executor, UniqueFd in, UniqueFd out, UniqueFd err, UniqueFd signals
) {
    UniqueFd outputs[wire::kOutputs] = {std::move(out), std::move(err), std::move(signals)};
    return std::make_unique<PipeStreams>(executor, std::move(in), outputs);
}

ShimStreams::ShimStreams(const asio::any_io_executor& executor, Send send)
    : send_(std::move(send)), room_(executor) {
    for (auto& source : sources_) source = std::make_unique<Source>(executor);
}

void ShimStreams::start_at(Stream stream, std::uint64_t offset) { source(stream).at = offset; }

std::uint64_t ShimStreams::begins_at(Stream stream) const { return source(stream).at; }

asio::awaitable<std::optional<StreamPiece>> ShimStreams::read(Stream stream) {
    auto& from = source(stream);
    if (!std::exchange(from.resumed, true)) {
        from.allowed = from.at + kWindow;
        if (!send_(wire::encode(wire::Resume{stream, from.at, from.allowed}))) from.ended = true;
    }
    while (from.pieces.empty() && !from.ended && !from.interrupted) co_await from.changed.wait();
    if (from.interrupted || from.pieces.empty()) co_return std::nullopt;
    auto piece = std::move(from.pieces.front());
    from.pieces.pop_front();
    from.at = piece.end;
    if (from.at + kWindow / 2 > from.allowed) {
        from.allowed = from.at + kWindow;
        (void)send_(wire::encode(wire::Type::want, {stream, from.allowed}));
    }
    co_return piece;
}

void ShimStreams::interrupt(Stream stream) {
    source(stream).interrupted = true;
    source(stream).changed.notify();
}

void ShimStreams::ack(Stream stream, std::uint64_t offset) {
    (void)send_(wire::encode(wire::Type::ack, {stream, offset}));
}

asio::awaitable<void> ShimStreams::write(std::string bytes, std::string tag, bool sticky) {
    while (!gone_ && written_ - taken_ > kInputWindow) co_await room_.wait();
    std::size_t done = 0;
    do {
        wire::Input frame{tag, sticky, false, bytes.substr(done, wire::kMaxPiece)};
        done += frame.bytes.size();
        frame.more = done < bytes.size();
        if (gone_ || !send_(wire::encode(frame))) co_return;
    } while (done < bytes.size());
    written_ += bytes.size();
}

void ShimStreams::close_input() { (void)send_(wire::encode_input_end()); }

bool ShimStreams::take(std::string_view frame) {
    if (auto piece = wire::decode_output(frame)) {
        auto& to = source(piece->stream);
        const auto end = piece->offset + piece->bytes.size();
        to.pieces.push_back({std::move(piece->bytes), end, std::exchange(to.dropped, 0)});
        to.changed.notify();
    } else if (const auto mark = wire::decode_mark(wire::Type::output_end, frame)) {
        source(mark->stream).ended = true;
        source(mark->stream).changed.notify();
    } else if (const auto taken = wire::decode_input_taken(frame)) {
        taken_ = *taken;
        room_.notify();
    } else if (const auto gap = wire::decode_dropped(frame)) {
        source(gap->stream).dropped += gap->bytes;
    } else {
        return false;
    }
    return true;
}

std::string ShimStreams::take_all(Stream stream) {
    std::string out;
    for (auto& piece : std::exchange(source(stream).pieces, {})) out += piece.bytes;
    while (out.ends_with('\n')) out.pop_back();
    return out;
}

void ShimStreams::end() {
    gone_ = true;
    room_.notify();
    for (auto& source : sources_) {
        source->ended = true;
        source->changed.notify();
    }
}

}  // namespace volary::cage
