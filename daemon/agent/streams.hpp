// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "cage/streams.hpp"
#include "daemon/acp/transport.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace volary::agent {

/// Takes one piece and the place behind it in its stream; reading goes on when it returns, so a
/// slow taker slows the writer.
using TakeChunk = std::function<asio::awaitable<void>(std::string chunk, std::uint64_t end)>;

/// Reads until the stream's end. Pieces are at most 32 KiB and never cut a UTF-8 character that is
/// whole in the stream. Where bytes were lost a line says how many.
asio::awaitable<void> read_chunks(
    cage::RunnerStreams* streams, cage::Stream stream, TakeChunk take
);

/// Reads lines (without their newline); one that is longer than `max_line` bytes is cut there.
/// `from` is where the reader begins in the stream.
asio::awaitable<void> read_lines(
    cage::RunnerStreams* streams, cage::Stream stream, std::uint64_t from, std::size_t max_line,
    TakeChunk take
);

/// The wire of an ACP agent: its standard input and output. `streams` must outlive it.
std::unique_ptr<acp::Transport> make_stream_transport(cage::RunnerStreams& streams);

}  // namespace volary::agent
