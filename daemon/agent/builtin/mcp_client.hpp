// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/acp/types.hpp"
#include "daemon/agent/builtin/clients.hpp"

#include <memory>
#include <string>
#include <vector>

namespace volary::builtin {

/// A client of one MCP server over streamable HTTP
/// (https://modelcontextprotocol.io/specification/2025-06-18/basic/transports). Connects at the
/// first list() or call(), and again when the server has forgotten the session. Answers come as
/// JSON or as an event stream. One call at a time.
class McpClient final : public ToolClient {
public:
    /// Throws Error{invalid} when the server's url is no http address.
    McpClient(asio::any_io_executor executor, acp::McpServer server);
    ~McpClient() override;

    asio::awaitable<std::vector<ToolSpec>> list() override;
    asio::awaitable<ToolOutcome> call(std::string name, std::string input, OnOutput on_output)
        override;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// What a tools/call result says, as text for a model: its text blocks, else its structured
/// content; other blocks are named. Pure.
ToolOutcome read_tool_result(const Json& result);

/// One entry of a tools/list result; throws Error{invalid} when it has no name.
ToolSpec read_tool_spec(const Json& tool);

}  // namespace volary::builtin
