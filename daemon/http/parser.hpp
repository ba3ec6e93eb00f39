// SPDX-License-Identifier: Apache-2.0
// Internal to daemon/http: the wire side of messages. Others see types.hpp.
#pragma once

#include "daemon/http/types.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace volary::http {

/// What one call of a parser's feed() has come to.
enum class ParseStep {
    need_more,  ///< give it more bytes after what it has not consumed
    header,     ///< the header is complete (once a message)
    progress,   ///< consumed something; call again
    done,       ///< the message is complete
    failed      ///< see failure(); the connection is of no more use
};

/// Why a message is refused.
struct ParseFailure {
    int status = 400;
    Errc code = Errc::invalid;
    std::string message;
};

/// Parses requests one after another into a Request. Strict where leniency lets two parsers
/// disagree about where a message ends (RFC 9112, section 11.2): both lengths, lists of lengths,
/// any transfer coding but chunked, folded lines and a second Host are refused.
class RequestParser {
public:
    explicit RequestParser(std::size_t max_header);
    ~RequestParser();
    RequestParser(const RequestParser&) = delete;
    RequestParser& operator=(const RequestParser&) = delete;

    /// Starts over for the next message, into `request` (cleared but for its peer).
    void start(Request& request);

    /// Consumes a prefix of `input`; `consumed` says how much.
    ParseStep feed(std::string_view input, std::size_t& consumed);

    /// After `header`: more body than this fails with 413.
    void limit_body(std::size_t max_body);

    const ParseFailure& failure() const noexcept;

    // Valid after `header`.
    bool keep_alive() const;
    bool has_body() const;
    bool wants_websocket() const;
    std::optional<std::uint64_t> content_length() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Parses one response after another; the client's half.
class ResponseParser {
public:
    explicit ResponseParser(std::size_t max_header);
    ~ResponseParser();
    ResponseParser(const ResponseParser&) = delete;
    ResponseParser& operator=(const ResponseParser&) = delete;

    /// `on_body` gets the body; false from it fails the message. The answer to a HEAD has none.
    void start(Response& response, std::function<bool(std::string_view)> on_body, bool is_head);
    ParseStep feed(std::string_view input, std::size_t& consumed);
    /// The connection has ended: `done` for a body that ends so, else `failed`.
    ParseStep feed_end();
    const std::string& failure() const noexcept;
    bool keep_alive() const;
    bool in_body() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace volary::http
