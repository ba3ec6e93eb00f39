// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/error.hpp"
#include "daemon/http/headers.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <variant>
#include <vector>

namespace volary::http {

struct RouteInfo;
struct Upstream;

/// Who is at the other end of a connection, as the kernel or the gatekeeper says it.
struct Peer {
    enum class Kind { unix_socket, tcp, cage };
    Kind kind = Kind::tcp;
    uid_t uid = static_cast<uid_t>(-1);  ///< SO_PEERCRED; unix sockets only
    pid_t pid = -1;                      ///< SO_PEERCRED; unix sockets only
    std::string address;                 ///< "127.0.0.1:40222" or the socket's path
    std::string listener;                ///< the listener's name: "operator", "loopback", "cage"
    std::string local;                   ///< own address and port, e.g. "127.0.0.1:7700"; tcp only
    std::string cage;                    ///< cage id, for Kind::cage
    std::string service;                 ///< name that the cage dialled, for Kind::cage
};

/// One request, complete: header checked, body read.
struct Request {
    std::string method;  ///< as sent; GET for the handler of a HEAD is told by `head`
    std::string target;  ///< as sent, e.g. "/api/v1/sessions?limit=5"
    std::string path;    ///< the target before '?', still percent-encoded
    std::string query;   ///< after '?', still percent-encoded; see query_value()
    Headers headers;
    std::string body;
    std::vector<std::string> params;  ///< the route's {placeholders} in order, percent-decoded
    Peer peer;
    const RouteInfo* route = nullptr;  ///< what it will run; null for pages and unknown paths
    std::string identity;              ///< set by the guard: "uid 0", "device dev_..."
    std::string identity_source;       ///< set by the guard: "peer", "cookie", "cage"
    int version = 11;                  ///< 10 or 11

    /// The decoded value of the first `key=` in the query; nothing when absent.
    std::optional<std::string> query_value(std::string_view key) const;
};

/// The one who sends the body of a streaming response. Lives while the response is sent.
class BodyWriter {
public:
    virtual ~BodyWriter() = default;

    /// Sends one chunk and returns when the kernel has taken it: back-pressure reaches the
    /// caller. False when the peer is gone or too slow (write deadline): end then.
    [[nodiscard]] virtual asio::awaitable<bool> write(std::string bytes) = 0;
};

/// The media types that the daemon itself sends; others go into a Content-Type header.
enum class Media { none, json, text, html, event_stream };

/// An answer. The server adds Content-Length or chunking, Date, Connection and its common headers.
struct Response {
    int status = 200;
    Media media = Media::none;
    Headers headers;
    std::string body;
    std::shared_ptr<const std::string> shared_body;  ///< instead of `body`: bytes with many readers
    std::string_view static_body;  ///< instead of `body`: memory that lives as long as the program
    /// Instead of a body: called once the head is out; sent chunked. Keep what it uses alive in it.
    std::function<asio::awaitable<void>(BodyWriter&)> stream;
    /// Instead of an answer: this connection answers the request (upstream.hpp). Only from the
    /// handler of a route with BodyReading::left.
    std::shared_ptr<Upstream> upstream;

    /// `text` is JSON.
    static Response json(int status, std::string text);
    static Response text(int status, std::string text);
    static Response empty(int status);
    /// Sends the browser elsewhere (303 unless told otherwise).
    static Response redirect(std::string_view location, int status = 303);
    /// {"error":{"code","message","details":[]}} with the status that belongs to the code.
    static Response error(const Error& error);
    static Response error(
        int status, Errc code, std::string_view message,
        const std::vector<std::string>& details = {}
    );

    /// The bytes of whichever body is set.
    std::string_view payload() const noexcept;
};

/// What a guard says: go on, answer this instead, or wait for me (the rare slow case).
struct Proceed {};
using LaterVerdict = asio::awaitable<std::optional<Response>>;  ///< nothing: go on
using Verdict = std::variant<Proceed, Response, LaterVerdict>;

/// Judges every request after its header and before its body and its handler; it may set
/// `identity`. Routed and unknown paths pass through it alike. The request outlives the verdict.
using Guard = std::function<Verdict(Request&)>;

/// The reason phrase of a status (RFC 9110, section 15), "Unknown" for others.
std::string_view reason_phrase(int status) noexcept;

}  // namespace volary::http
