// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"
#include "daemon/http/router.hpp"
#include "daemon/http/types.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <sys/types.h>

namespace volary::http {

struct ServerOptions {
    /// From the first byte of a header to its end: slow loris ends here.
    std::chrono::milliseconds header_deadline{10'000};
    /// For a whole body; 1 MiB over a bad mobile link takes less.
    std::chrono::milliseconds body_deadline{60'000};
    /// A kept-alive connection without a request; above the 60 s of common proxies.
    std::chrono::milliseconds idle_deadline{75'000};
    /// Without progress while sending.
    std::chrono::milliseconds write_deadline{30'000};
    /// A WebSocket from which nothing (not even a pong) came; pinged at half of it.
    std::chrono::milliseconds socket_idle_deadline{60'000};
    /// close(): what is still running after this is cut off.
    std::chrono::milliseconds close_deadline{3'000};
    /// Each may hold one body; one operator has a handful, cages some dozens.
    std::size_t max_connections = 1024;
    std::size_t max_header = std::size_t{16} << 10U;  ///< bytes of request line and fields
    Headers headers;                                  ///< added to every answer
};

/// HTTP/1.1 and WebSocket server on the executor's one thread.
///
///     http::Server server(executor, router, access.guard(), options);
///     const auto port = server.listen_tcp("127.0.0.1", 0, "loopback");
///     ...
///     co_await server.close();
///
/// `router` must outlive it. close() must have ended before it is destroyed.
class Server {
public:
    /// An empty guard lets everything pass.
    Server(
        asio::any_io_executor executor, const Router& router, Guard guard,
        ServerOptions options = {}
    );
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();

    /// Listens on an IP literal; port 0 lets the kernel choose. Returns the bound port.
    /// Throws Error{io} naming the address.
    std::uint16_t listen_tcp(const std::string& address, std::uint16_t port, std::string listener);

    /// Listens on a unix socket with exactly `mode`. A leftover of a dead process is replaced; a
    /// socket that answers is Error{conflict}, any other file Error{invalid}. Removed by close().
    void listen_unix(const std::string& path, mode_t mode, std::string listener);

    /// Like listen_unix for a socket that is already listening (from a service manager).
    void listen_on(UniqueFd listening, std::string listener);

    /// Serves a connection that somebody else accepted, e.g. the gatekeeper of a cage.
    void serve(UniqueFd connection, Peer peer);

    std::size_t connections() const noexcept;

    /// Stops listening, closes WebSockets with 1001 and idle connections, lets running handlers
    /// end within close_deadline, then cuts off the rest. Returns when all of it is over.
    asio::awaitable<void> close();

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace volary::http
