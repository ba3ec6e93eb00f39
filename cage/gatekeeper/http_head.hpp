// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace volary::cage {

/// Largest request head, as common servers have it (nginx 8 KiB a line, Apache 8 KiB, Node 16).
constexpr std::size_t kMaxHttpHead = 16U * 1024U;

/// How a request's body ends.
enum class BodyFraming { none, length, chunked };

/// One HTTP/1.0 or 1.1 request head, as far as the gatekeeper must judge it.
struct HttpHead {
    std::string method;
    std::string target;
    /// The Host field, lower case, without its port.
    std::string host;
    std::optional<std::uint16_t> port;
    BodyFraming framing = BodyFraming::none;
    std::uint64_t content_length = 0;
    /// An Upgrade to "websocket" is asked for.
    bool websocket = false;
    /// A field by which some servers read another method, or another path, than the first line's.
    bool other_method = false;
    bool other_path = false;
    /// Bytes of the head, its empty line included.
    std::size_t size = 0;
};

/// What became of a buffer that should start with a head.
struct HttpHeadResult {
    enum class State { more, done, malformed };
    State state = State::more;
    HttpHead head;
    /// What is wrong, for State::malformed.
    const char* problem = "";
};

/// Parses one request head (RFC 9112) at the start of `buffer`. Strict where two readers could
/// disagree: CRLF only, no folded lines, no space before a colon, one Host, origin-form targets
/// only (and `*`), not both Content-Length and Transfer-Encoding, one transfer coding "chunked",
/// no CONNECT, no upgrade but to WebSocket, no HTTP/2. Pure.
HttpHeadResult parse_http_head(std::string_view buffer);

/// True while `start` could still be, or is, the start of an HTTP request: a method word, a space
/// and a target. Tells HTTP from other protocols whose client speaks first.
bool looks_like_http(std::string_view start);

/// Finds the end of a request body as it passes by, without keeping it.
class BodyScanner {
public:
    enum class State { more, done, malformed };

    /// Whether fields behind the last chunk are let through.
    enum class Trailers { pass, refuse };

    BodyScanner() = default;
    BodyScanner(
        BodyFraming framing, std::uint64_t content_length, Trailers trailers = Trailers::pass
    );

    /// How many of `bytes` belong to the body (up to its end); look at state() afterwards.
    std::size_t feed(std::string_view bytes);
    State state() const noexcept { return state_; }

private:
    enum class Part { size, extension, size_lf, data_cr, data_lf, trailer, trailer_lf };
    void byte(char c);
    void size_byte(char c);
    void trailer_byte(char c);
    void start_chunk();

    State state_ = State::done;
    Trailers trailers_ = Trailers::pass;
    bool chunked_ = false;
    std::uint64_t left_ = 0;
    /// The chunk size read so far.
    std::uint64_t size_ = 0;
    Part part_ = Part::size;
    unsigned digits_ = 0;
    /// Bytes of the current size line or of all trailers, for their limits.
    std::size_t line_ = 0;
    std::size_t trailer_line_ = 0;
};

}  // namespace volary::cage
