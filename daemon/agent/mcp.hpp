// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/json.hpp"
#include "daemon/agent/host.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace volary::dsl {
struct Agent;
}
namespace volary::http {
class BodyWriter;
struct Response;
}  // namespace volary::http

namespace volary::agent {

/// Whether the project file lets the agent use the tool: its exact name first, then globs
/// (fnmatch(3)), then yes.
bool is_tool_enabled(const dsl::Agent& agent, std::string_view tool);

/// The MCP server that every cage finds at http://volary.internal/mcp: streamable HTTP, protocol
/// versions 2025-06-18 and 2025-03-26 (https://modelcontextprotocol.io/specification). The caller
/// is known by its socket; there is no session id and no token.
class McpServer {
public:
    explicit McpServer(Host& host) : host_(host) {}

    /// Answers one POST. Failures are JSON-RPC errors or tool results with `isError`.
    asio::awaitable<http::Response> handle(
        std::string body, Origin origin, const dsl::Agent& agent
    );

private:
    asio::awaitable<Json> call_tool(Json params, Origin origin, const dsl::Agent& agent);
    asio::awaitable<Json> plan_update(Json arguments, Origin origin);
    asio::awaitable<Json> subagent_invoke(Json arguments, Origin origin, std::string key);
    asio::awaitable<Json> signal_emit(Json arguments, Origin origin, std::string key);
    asio::awaitable<Json> subagent_result(Json arguments, Origin origin, http::BodyWriter& writer);
    /// Nothing when the invocation still works after `deadline`.
    asio::awaitable<std::optional<SubagentAnswer>> try_wait(
        Origin origin, InvocationId id, std::chrono::milliseconds deadline
    );
    asio::awaitable<void> send_result(
        http::BodyWriter& writer, Json id, Json arguments, Origin origin
    );
    http::Response stream_result(Json id, Json arguments, Origin origin);

    Host& host_;
};

}  // namespace volary::agent
