// SPDX-License-Identifier: Apache-2.0
// Internal to daemon/http: the WebSocket side of a connection, for server and client.
#pragma once

#include "daemon/http/context.hpp"
#include "daemon/http/socket.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace volary::http {

/// A Socket on a byte stream, with what its owner needs beyond the interface.
class StreamSocket : public Socket {
public:
    /// Answers the handshake of `request`; false when it was refused and the stream is over.
    virtual asio::awaitable<bool> accept(const Request& request) = 0;

    /// Asks for the upgrade; throws Error when the server refuses.
    virtual asio::awaitable<void> handshake(
        std::string host, std::string target, const Headers& headers
    ) = 0;

    /// Drops the connection without a close frame.
    virtual void abort() = 0;
};

/// `idle`: a peer that is silent for so long, pings included, is gone.
std::shared_ptr<StreamSocket> make_server_socket(Stream stream, std::chrono::milliseconds idle);
std::shared_ptr<StreamSocket> make_client_socket(
    Stream stream, std::chrono::milliseconds handshake, std::chrono::milliseconds idle
);

/// Handshake, handler, close: the life of one WebSocket of a server.
asio::awaitable<void> serve_socket(
    std::shared_ptr<ServerContext> context, std::shared_ptr<StreamSocket> socket, Request request,
    const SocketHandler* handler
);

}  // namespace volary::http
