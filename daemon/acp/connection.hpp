// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/error.hpp"
#include "base/json.hpp"
#include "base/unique_fd.hpp"
#include "daemon/acp/transport.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace volary::acp {

/// Error codes of JSON-RPC 2.0 (https://www.jsonrpc.org/specification, section 5.1) and ACP.
namespace rpc {
constexpr int kParseError = -32700;
constexpr int kInvalidRequest = -32600;
constexpr int kMethodNotFound = -32601;
constexpr int kInvalidParams = -32602;
constexpr int kInternalError = -32603;
constexpr int kRequestCancelled = -32800;
constexpr int kAuthRequired = -32000;
constexpr int kNotFound = -32002;
}  // namespace rpc

/// An error with a JSON-RPC code: thrown by call() when the peer answered with one, and by a
/// request handler that wants that very code in its answer. Any other Error of a handler becomes
/// -32602 (Errc::invalid), -32002 (not_found) or -32603.
class RpcError : public Error {
public:
    RpcError(int rpc_code, std::string message);
    int rpc_code() const noexcept { return rpc_code_; }

private:
    int rpc_code_;
};

/// Bounds of one connection; beyond them run() ends with Error{too_large} or senders wait.
struct ConnectionLimits {
    std::size_t line = std::size_t{64} << 20U;   ///< images travel as base64 in one line
    int depth = 128;                             ///< of the JSON in a line
    std::size_t outbox = std::size_t{1} << 20U;  ///< queued bytes at which senders start to wait
    std::size_t requests = 64;  ///< requests of the peer in work; reading pauses at that many
};

/// Where a line of the peer lies in all that it has said, in bytes.
struct LinePlace {
    std::uint64_t begin = 0, end = 0;
};

/// Goes on with a conversation that another process began over the same wire.
struct ConnectionResume {
    /// The tags of the lines that the peer has taken, as Transport::write() was given them.
    std::vector<std::string> taken;
    std::uint64_t from = 0;  ///< where reading begins
    /// Lines that end here or before took effect: of these only requests that nobody has answered
    /// are handled again.
    std::uint64_t applied = 0;
};

/// One JSON-RPC 2.0 peer over a pair of descriptors, one JSON value a line (the stdio transport of
/// the Agent Client Protocol), either side of it.
///
/// Owns both descriptors. Lives on the executor's thread. Register handlers first, then await
/// run() in a task of yours; call close() before destruction. The program must ignore SIGPIPE.
///
///     acp::Connection agent(executor, std::move(out_of_agent), std::move(into_agent));
///     agent.on_notification("session/update", ...);
///     scope.spawn("acp", agent.run());
///     auto answer = co_await agent.call("initialize", params, std::chrono::seconds(10));
class Connection {
public:
    /// Runs in a task of its own; cancelled when the peer sends `$/cancel_request` for it, when
    /// the peer goes, and at close().
    using RequestHandler = std::function<asio::awaitable<Json>(Json params)>;
    /// Runs inside run(): nothing more is read until it returns, so notifications and answers
    /// take effect in the order in which they were sent, and a slow handler slows the peer. It
    /// must not await a call() to the same peer.
    using NotificationHandler = std::function<asio::awaitable<void>(Json params)>;
    /// A line of the peer that is no JSON-RPC message: agents print logs on stdout.
    using StrayHandler = std::function<void(std::string line)>;

    Connection(
        asio::any_io_executor executor, UniqueFd in, UniqueFd out, ConnectionLimits limits = {}
    );
    /// Over any wire; with `resume` the calls that were made before keep their ids.
    Connection(
        asio::any_io_executor executor, std::unique_ptr<Transport> transport,
        ConnectionResume resume = {}, ConnectionLimits limits = {}
    );
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection();

    void on_request(std::string method, RequestHandler handler);
    void on_notification(std::string method, NotificationHandler handler);
    void on_stray(StrayHandler handler);

    /// Sends a request and waits for its answer. Throws RpcError when the peer answers with an
    /// error, Error{unavailable} when the peer is gone or goes, Error{timeout} after `deadline`.
    /// A caller that is cancelled or times out tells the peer by `$/cancel_request`.
    asio::awaitable<Json> call(
        std::string method, Json params,
        std::optional<std::chrono::milliseconds> deadline = std::nullopt
    );

    /// What the tag of a call of `method` that was made before carries; nothing when none was.
    std::optional<std::string> called_before(const std::string& method) const;
    /// Waits for the answer to that call, like call().
    asio::awaitable<Json> rejoin(std::string method);
    /// call() with a word in its tag, for called_before().
    asio::awaitable<Json> call_noted(std::string method, Json params, std::string note);

    /// The line that the handler which runs now was called for, when it begins; after a call() the
    /// line of its answer.
    LinePlace place() const noexcept;
    /// Where the first line begins whose request was not answered; `otherwise` when all were.
    std::uint64_t unanswered_from(std::uint64_t otherwise) const;

    /// Queues a notification; waits while the outbox is full. Throws Error{unavailable} when the
    /// peer is gone.
    asio::awaitable<void> notify(std::string method, Json params);

    /// Queues a notification without waiting, beyond the outbox limit too: for senders that cannot
    /// wait and whose amount is bounded elsewhere. Dropped when the peer is gone.
    void post(const std::string& method, const Json& params);

    /// Reads and dispatches until the peer closes its end (returns), the line limit is passed
    /// (throws Error{too_large}) or close(). Await it once.
    asio::awaitable<void> run();

    /// Waits until everything queued has been written, for at most `deadline`.
    asio::awaitable<void> flush(std::chrono::milliseconds deadline);

    /// Cancels handlers, fails pending calls, closes both descriptors. Idempotent.
    asio::awaitable<void> close();

    /// True after the peer's end was seen closed, or after close().
    bool closed() const noexcept;

private:
    class Impl;
    std::shared_ptr<Impl>
        impl_;  // Shared with the calls in flight, which may resume after close().
};

}  // namespace volary::acp
