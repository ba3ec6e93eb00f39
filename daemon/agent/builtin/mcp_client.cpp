// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/mcp_client.hpp"

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "daemon/agent/builtin/http_url.hpp"
#include "daemon/agent/builtin/sse.hpp"
#include "daemon/http/client.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

constexpr const char* kProtocolVersion = "2025-06-18";
/// subagent_result waits for a whole subagent; the turn's cancellation is the real bound.
constexpr std::chrono::hours kCallDeadline{24};
constexpr int kAttempts = 4;
constexpr int kMaxPages = 100;  // of tools/list: a server that never ends its cursors is broken
constexpr JsonLimits kMessageLimits{std::size_t{64} << 20U, 128};
constexpr std::size_t kMaxErrorText = 500;
constexpr int kNotFound = 404;

http::ClientOptions client_options() {
    http::ClientOptions options;
    options.answer_deadline = kCallDeadline;
    options.body_deadline = kCallDeadline;
    return options;
}

/// The answer to `id` in a body that is JSON or an event stream; null when it is not there.
std::optional<Json> find_answer(std::string_view body, bool events, std::int64_t id) {
    std::vector<std::string> messages;
    if (events) {
        for (auto& event : SseParser().feed(body)) messages.push_back(std::move(event.data));
    } else {
        messages.emplace_back(body);
    }
    for (const auto& text : messages) {
        auto doc = parse_json(text, kMessageLimits);
        if (!doc) throw Error(Errc::invalid, "MCP answer: " + doc.error());
        const bool ours = doc->is_object() && doc->contains("id") && (*doc)["id"] == id &&
                          !doc->contains("method");
        if (ours) return std::move(*doc);
    }
    return std::nullopt;
}

}  // namespace

class McpClient::Impl {
public:
    Impl(const asio::any_io_executor& executor, acp::McpServer server, const HttpUrl& url)
        : server_(std::move(server)),
          target_(url.path),
          client_(executor, http::Endpoint::parse(url.origin), client_options()) {}

    /// The result of `method`; throws Error with the server's words.
    asio::awaitable<Json> request(std::string method, Json params);

private:
    asio::awaitable<void> connect();
    asio::awaitable<Json> exchange(std::string method, Json params);
    asio::awaitable<http::Response> post(std::string body);

    acp::McpServer server_;
    std::string target_;
    http::Client client_;
    std::int64_t last_id_ = 0;
    bool connected_ = false;
    bool forgotten_ = false;  // the last exchange found that the server lost our session
    std::string session_id_;
    std::string version_;
};

asio::awaitable<http::Response> McpClient::Impl::post(std::string body) {
    http::ClientRequest request;
    request.method = "POST";
    request.target = target_;
    request.headers.add("content-type", "application/json");
    request.headers.add("accept", "application/json, text/event-stream");
    if (!version_.empty()) request.headers.add("mcp-protocol-version", version_);
    if (!session_id_.empty()) request.headers.add("mcp-session-id", session_id_);
    for (const auto& [name, value] : server_.headers) request.headers.set(name, value);
    request.body = std::move(body);
    bool ended = false;
    try {
        auto response = co_await client_.request(std::move(request));
        ended = true;
        co_return response;
    } catch (const Error& error) {
        client_.close();
        throw Interrupted(fmt::format("MCP server {}: {}", server_.name, error.what()));
    } catch (...) {
        // What is left of a cancelled exchange must not be read as the next answer.
        if (!ended) client_.close();
        throw;
    }
}

asio::awaitable<Json> McpClient::Impl::exchange(std::string method, Json params) {
    const auto id = ++last_id_;
    const Json message = {
        {"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}
    };
    const auto response = co_await post(dump_json(message));
    constexpr int kOk = 200;
    forgotten_ = response.status == kNotFound && !session_id_.empty();
    if (response.status != kOk)
        throw Error(
            Errc::unavailable, fmt::format(
                                   "MCP server {}: {} answered {}: {}", server_.name, method,
                                   response.status, utf8_prefix(response.payload(), kMaxErrorText)
                               )
        );
    if (const auto session = response.headers.find("mcp-session-id")) session_id_ = *session;
    const auto type = response.headers.find("content-type").value_or("");
    auto answer = find_answer(response.payload(), type.starts_with("text/event-stream"), id);
    if (!answer)
        throw Error(
            Errc::invalid, fmt::format("MCP server {}: no answer to {}", server_.name, method)
        );
    if (const auto error = answer->find("error"); error != answer->end()) {
        const auto said = error->is_object() ? string_or(*error, "message") : dump_json(*error);
        throw Error(
            Errc::invalid, fmt::format("MCP server {}: {}: {}", server_.name, method, said)
        );
    }
    co_return std::move((*answer)["result"]);
}

asio::awaitable<void> McpClient::Impl::connect() {
    session_id_.clear();
    version_.clear();
    const Json client = {{"name", "volary-agent"}, {"version", VOLARY_VERSION}};
    Json params = {
        {"protocolVersion", kProtocolVersion},
        {"capabilities", Json::object()},
        {"clientInfo", client},
    };
    const auto result = co_await exchange("initialize", std::move(params));
    version_ = result.is_object() ? string_or(result, "protocolVersion", kProtocolVersion)
                                  : std::string(kProtocolVersion);
    const Json ready = {{"jsonrpc", "2.0"}, {"method", "notifications/initialized"}};
    (void)co_await post(dump_json(ready));
    connected_ = true;
}

asio::awaitable<Json> McpClient::Impl::request(std::string method, Json params) {
    for (int attempt = 1;; ++attempt) {
        try {
            if (!connected_) co_await connect();
            co_return co_await exchange(method, params);
        } catch (const Interrupted&) {
            // A daemon that restarts cuts what waits; the key makes the same call the same.
            if (attempt == kAttempts) throw;
        } catch (const Error&) {
            if (!forgotten_) throw;
            break;
        }
    }
    // The specification's answer to 404: a new session, then the same request.
    connected_ = false;
    co_await connect();
    co_return co_await exchange(std::move(method), std::move(params));
}

McpClient::McpClient(asio::any_io_executor executor, acp::McpServer server) {
    const auto url = HttpUrl::parse(server.url);
    impl_ = std::make_unique<Impl>(executor, std::move(server), url);
}

McpClient::~McpClient() = default;

asio::awaitable<std::vector<ToolSpec>> McpClient::list() {
    std::vector<ToolSpec> tools;
    std::string cursor;
    for (int page = 0; page < kMaxPages; ++page) {
        auto params = Json::object();
        if (!cursor.empty()) params["cursor"] = cursor;
        const auto result = co_await impl_->request("tools/list", std::move(params));
        if (!result.is_object() || !result.contains("tools") || !result["tools"].is_array())
            throw Error(Errc::invalid, "MCP tools/list: tools: required list");
        for (const auto& tool : result["tools"]) tools.push_back(read_tool_spec(tool));
        cursor = string_or(result, "nextCursor");
        if (cursor.empty()) break;
    }
    co_return tools;
}

asio::awaitable<ToolOutcome> McpClient::call(
    std::string name, std::string input, OnOutput /*on_output*/
) {
    auto arguments = parse_json(input, kMessageLimits);
    if (!arguments) co_return ToolOutcome{false, "the arguments are no JSON: " + arguments.error()};
    const Json meta = {{"volary.dev/key", make_ulid(SystemClock().now_ms())}};
    Json params = {{"name", name}, {"arguments", std::move(*arguments)}, {"_meta", meta}};
    const auto result = co_await impl_->request("tools/call", std::move(params));
    co_return read_tool_result(result);
}

ToolOutcome read_tool_result(const Json& result) {
    if (!result.is_object()) return {false, "the tool gave no result"};
    ToolOutcome outcome;
    const auto failed = result.find("isError");
    outcome.ok = failed == result.end() || !failed->is_boolean() || !failed->get<bool>();
    const auto add = [&](const std::string& text) {
        if (!outcome.text.empty()) outcome.text += '\n';
        outcome.text += text;
    };
    const auto content = result.find("content");
    if (content != result.end() && content->is_array()) {
        for (const auto& block : *content) {
            if (!block.is_object()) continue;
            const auto type = string_or(block, "type");
            if (type == "text")
                add(string_or(block, "text"));
            else
                add(fmt::format("[{} {}]", type, string_or(block, "uri")));
        }
    }
    const auto structured = result.find("structuredContent");
    if (outcome.text.empty() && structured != result.end()) outcome.text = dump_json(*structured);
    return outcome;
}

ToolSpec read_tool_spec(const Json& tool) {
    ToolSpec spec;
    if (tool.is_object()) spec.name = string_or(tool, "name");
    if (spec.name.empty()) throw Error(Errc::invalid, "MCP tools/list: a tool without a name");
    spec.title = string_or(tool, "title");
    spec.description = string_or(tool, "description");
    const auto schema = tool.find("inputSchema");
    spec.schema = std::make_shared<const Json>(
        schema != tool.end() && schema->is_object() ? *schema : Json{{"type", "object"}}
    );
    return spec;
}

}  // namespace volary::builtin
