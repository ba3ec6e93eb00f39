// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/mailbox.hpp"
#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace volary::cage {

using wire::Stream;

/// A piece of what a runner said. Places in a stream are bytes since the runner's start.
struct StreamPiece {
    std::string bytes;
    std::uint64_t end = 0;      ///< place behind the last of these bytes
    std::uint64_t dropped = 0;  ///< bytes before them that are lost
};

/// The standard streams of one runner. One reader for each stream, one writer.
class RunnerStreams {
public:
    virtual ~RunnerStreams() = default;

    /// What comes next; nothing at the stream's end (or when it has none).
    virtual asio::awaitable<std::optional<StreamPiece>> read(Stream stream) = 0;

    /// A read() that waits, and each one that follows, gives nothing.
    virtual void interrupt(Stream stream) = 0;

    /// What was said before `offset` is durable: nobody will ask for it again.
    virtual void ack(Stream stream, std::uint64_t offset) = 0;

    /// Writes one message whole or not at all, and not again when one with the same (non-empty)
    /// tag was taken before, by this daemon or an earlier one. A sticky tag is never forgotten, of
    /// the others the last 256 are remembered. Returns when it was handed on; a runner that
    /// reads no more is no error.
    virtual asio::awaitable<void> write(std::string bytes, std::string tag, bool sticky) = 0;

    /// No more is written.
    virtual void close_input() = 0;
};

/// Streams over pipes that this process holds: they end with it. Closes what it was given.
std::unique_ptr<RunnerStreams> make_pipe_streams(
    const asio::any_io_executor& executor, UniqueFd in, UniqueFd out, UniqueFd err, UniqueFd signals
);

/// Streams that a shim keeps: frames on its control socket.
class ShimStreams final : public RunnerStreams {
public:
    using Send = std::function<bool(const std::string& frame)>;

    /// `send` puts a frame into the control socket, whatever it takes; false when that is closed.
    ShimStreams(const asio::any_io_executor& executor, Send send);

    /// Where reading begins, before the first read(); 0 unless said.
    void start_at(Stream stream, std::uint64_t offset);
    /// How many bytes of input the runner has had, before the first write().
    void input_was(std::uint64_t taken) { written_ = taken_ = taken; }
    std::uint64_t begins_at(Stream stream) const;

    asio::awaitable<std::optional<StreamPiece>> read(Stream stream) override;
    void interrupt(Stream stream) override;
    void ack(Stream stream, std::uint64_t offset) override;
    asio::awaitable<void> write(std::string bytes, std::string tag, bool sticky) override;
    void close_input() override;

    /// A frame of the shim; false when it is about something else.
    bool take(std::string_view frame);
    /// The shim is gone: what is here can still be read.
    void end();
    /// What has come of a stream and was not read.
    std::string take_all(Stream stream);

private:
    struct Source {
        explicit Source(const asio::any_io_executor& executor) : changed(executor) {}

        std::deque<StreamPiece> pieces;
        std::uint64_t at = 0;       ///< place behind what was read
        std::uint64_t allowed = 0;  ///< as the shim was told
        std::uint64_t dropped = 0;  ///< before the next piece
        bool resumed = false;
        bool ended = false;
        bool interrupted = false;
        Notifier changed;
    };

    const Source& source(Stream stream) const {
        return *sources_[static_cast<std::size_t>(stream)];
    }
    Source& source(Stream stream) { return *sources_[static_cast<std::size_t>(stream)]; }

    Send send_;
    std::unique_ptr<Source> sources_[wire::kOutputs];
    std::uint64_t written_ = 0;  ///< bytes of input
    std::uint64_t taken_ = 0;
    bool gone_ = false;
    Notifier room_;
};

}  // namespace volary::cage
