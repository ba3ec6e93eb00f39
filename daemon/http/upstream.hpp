// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"
#include "daemon/http/headers.hpp"

#include <memory>
#include <string>

namespace volary::http {

/// A connection that answers one request in place of a handler: see Response::upstream. What is at
/// its other end is not trusted: its answer is parsed, filtered and framed anew, and ends the
/// client's connection, so that nothing it says can be taken for another answer.
///
/// Bodies of any length stream both ways with bounded buffers. A WebSocket handshake that it
/// accepts turns both connections into bytes.
struct Upstream {
    enum class Kind {
        http,  ///< the request goes to it
        bytes  ///< the client's upgrade is answered with 101, then bytes go both ways
    };
    Kind kind = Kind::http;
    UniqueFd connection;  ///< a connected, non-blocking stream socket
    std::string host;     ///< what it hears as Host, e.g. "localhost:3000"
    std::string target;   ///< what it is asked for, e.g. "/style.css?v=2"
    /// In front of its own paths outside, for Location: "/ports/t/TOKEN".
    std::string prefix;
    Headers headers;                 ///< of every answer, instead of its own of that name
    std::string protocol = "bytes";  ///< Kind::bytes: the Upgrade that is answered
    std::shared_ptr<void> hold;      ///< let go of when the exchange ends
};

/// Moves bytes both ways between two connected, non-blocking stream sockets until both directions
/// have ended, either breaks, or nothing has moved for an hour. `first` goes to `b` before what `a`
/// sends.
asio::awaitable<void> relay(
    asio::any_io_executor executor, UniqueFd a, UniqueFd b, std::string first
);

}  // namespace volary::http
