// SPDX-License-Identifier: Apache-2.0
// Internal to daemon/http: what the connections of one server share.
#pragma once

#include "base/task_scope.hpp"
#include "daemon/http/server.hpp"

#include <chrono>
#include <cstddef>
#include <ctime>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

namespace volary::http {

class Connection;
class StreamSocket;

/// One socket type for TCP and unix sockets: everything is instantiated once.
using Stream = asio::generic::stream_protocol::socket;

struct ServerContext {
    ServerContext(asio::any_io_executor on, const Router& routes, Guard judge, ServerOptions with);

    asio::any_io_executor executor;
    const Router& router;
    Guard guard;
    ServerOptions options;
    std::string common_headers;  ///< options.headers as they stand in an answer

    std::list<Connection*> connections;  ///< all that are open; each takes itself out
    std::list<StreamSocket*> sockets;    ///< WebSockets whose handler runs
    bool closing = false;
    asio::steady_timer drained;  ///< cancelled whenever a connection or socket goes

    /// "Date: ...\r\n", rendered once a second.
    std::string_view date_line();

    std::size_t open() const noexcept { return connections.size() + sockets.size(); }
    void gone() { drained.cancel(); }

    TaskScope tasks;  // Last: its tasks use all of the above.

private:
    std::time_t date_at_ = 0;
    std::string date_line_;
};

/// Appends status line and fields of an answer, up to and with the empty line.
struct HeadFacts {
    bool keep_alive = true;
    bool chunked = false;
    bool with_length = true;
    int version = 11;
};
void append_head(
    std::string& out, const Response& response, ServerContext& context, const HeadFacts& facts
);

}  // namespace volary::http
