// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"
#include "daemon/http/socket.hpp"
#include "daemon/http/types.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace volary::http {

/// Where a client connects: a unix socket when `path` is set, else host and port.
struct Endpoint {
    std::string path;
    std::string host;  ///< name or IP literal
    std::uint16_t port = 80;

    static Endpoint unix_socket(std::string path);
    static Endpoint tcp(std::string host, std::uint16_t port);
    /// "unix:/run/volary/operator.sock" or "http://host:port". Throws Error{invalid}.
    static Endpoint parse(std::string_view text);

    /// For messages: the quoted path, or "host:port".
    std::string name() const;
    /// What the Host header says: "localhost" for a unix socket.
    std::string host_header() const;
};

struct ClientOptions {
    std::chrono::milliseconds connect_deadline{5'000};
    /// From sending the request to the end of the answer's header.
    std::chrono::milliseconds answer_deadline{30'000};
    /// Without a byte while reading a body; streams send pings more often.
    std::chrono::milliseconds body_deadline{90'000};
    std::size_t max_body = std::size_t{64} << 20U;  ///< of a body that is collected
    Headers headers;                                ///< added to every request
};

struct ClientRequest {
    std::string method = "GET";
    std::string target = "/";
    Headers headers;
    std::string body;
};

/// Hears a piece of a streamed body; false ends the request (the connection is then dropped).
using OnBody = std::function<bool(std::string_view piece)>;

/// An HTTP/1.1 client with one kept-alive connection; one request at a time.
///
///     http::Client client(executor, http::Endpoint::unix_socket("/run/volary/operator.sock"));
///     auto answer = co_await client.request({.method = "GET", .target = "/api/v1/status"});
///
/// Failures are Error{unavailable} ("connect "/run/...": No such file or directory"),
/// Error{timeout} or Error{io}; an answer of any status is not a failure.
class Client {
public:
    Client(asio::any_io_executor executor, Endpoint endpoint, ClientOptions options = {});
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client();

    /// Sends it and collects the body. A kept connection that the server has closed meanwhile is
    /// opened again once, and only for a request of which nothing was answered.
    asio::awaitable<Response> request(ClientRequest request);

    /// The same, but a 2xx body goes to `on_body` as it comes (SSE) and the response's body is
    /// empty; the body of another status is collected.
    asio::awaitable<Response> request(ClientRequest request, OnBody on_body);

    /// Opens a WebSocket on a connection of its own. A refusal is an Error with the server's
    /// message and code.
    asio::awaitable<std::shared_ptr<Socket>> websocket(std::string target, Headers headers = {});

    /// What an upgrade to plain bytes has come to.
    struct Tunnel {
        Response answer;      ///< 101, or why not
        UniqueFd connection;  ///< of a 101: from here on bytes, both ways
        std::string first;    ///< bytes that came behind the 101
    };
    /// Asks for `Upgrade: protocol` on a connection of its own.
    asio::awaitable<Tunnel> tunnel(std::string target, std::string protocol);

    /// Drops the connection; a request that is running fails.
    void close();

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace volary::http
