// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"

#include <functional>
#include <string>
#include <string_view>

namespace volary::agent {

/// Takes one piece; reading goes on when it returns, so a slow taker slows the writer.
using TakeChunk = std::function<asio::awaitable<void>(std::string chunk)>;

/// Reads until the other end closes. Pieces are at most 16 KiB and never cut a UTF-8 character
/// that is whole in the stream.
asio::awaitable<void> read_chunks(UniqueFd fd, TakeChunk take);

/// Reads lines (without their newline); one that is longer than `max_line` bytes is cut there.
asio::awaitable<void> read_lines(UniqueFd fd, std::size_t max_line, TakeChunk take);

/// Writes everything, then closes. A reader that is gone is not an error.
asio::awaitable<void> write_all(UniqueFd fd, std::string text);

}  // namespace volary::agent
