// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/mcp.hpp"

#include "base/error.hpp"
#include "daemon/agent/tools.hpp"
#include "daemon/http/types.hpp"
#include "dsl/project.hpp"

#include <algorithm>
#include <fnmatch.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::agent {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// JSON-RPC 2.0, section 5.1.
constexpr int kParseError = -32700;
constexpr int kInvalidRequest = -32600;
constexpr int kMethodNotFound = -32601;
constexpr int kInvalidParams = -32602;

constexpr std::string_view kNewestProtocol = "2025-06-18";
constexpr std::string_view kOlderProtocol = "2025-03-26";
// Below the 90 s after which HTTP clients give a silent body up.
constexpr seconds kKeepAlive{15};
constexpr seconds kDefaultWait{600};
constexpr seconds kLongestWait{86'400};
constexpr std::size_t kMaxKey = 200;  // bytes, as of an Idempotency-Key of the API

Json reply(const Json& id, Json result) {
    return {{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}};
}

Json failure(const Json& id, int code, std::string_view message) {
    return {{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", code}, {"message", message}}}};
}

http::Response json_response(const Json& doc) { return http::Response::json(200, dump_json(doc)); }

Json tool_text(const Json& structured, bool is_error) {
    const Json block = {{"type", "text"}, {"text", dump_json(structured)}};
    Json result = {{"content", Json::array({block})}, {"isError", is_error}};
    if (!is_error) result["structuredContent"] = structured;
    return result;
}

Json tool_error(const Error& error) {
    Json about = {{"error", to_string(error.code())}, {"message", error.what()}};
    if (!error.details().empty()) about["details"] = error.details();
    return tool_text(about, true);
}

Json initialize_result(const Json& params) {
    const auto asked = string_or(params, "protocolVersion");
    const auto version = asked == kOlderProtocol ? kOlderProtocol : kNewestProtocol;
    return {
        {"protocolVersion", version},
        {"capabilities", {{"tools", Json::object()}}},
        {"serverInfo", {{"name", "volary"}, {"version", VOLARY_VERSION}}},
    };
}

/// What makes a call that is repeated the same one: `_meta` of the request, by a client that knows
/// us, or the argument `idempotency_key`, by a model that was told. Takes it out of the arguments.
std::string key_of(const Json& params, Json& arguments) {
    auto key = string_or(arguments, "idempotency_key");
    if (arguments.is_object()) arguments.erase("idempotency_key");
    if (key.empty()) key = string_or(params.value("_meta", Json::object()), "volary.dev/key");
    return key.size() <= kMaxKey ? key : std::string();
}

std::string sse(const Json& message) {
    return "event: message\ndata: " + dump_json(message) + "\n\n";
}

milliseconds wait_of(const Json& arguments) {
    Fields fields(arguments, "arguments");
    fields.string("invocation");
    const auto asked = fields.optional_integer("wait_seconds");
    if (asked && (*asked < 0 || *asked > kLongestWait.count()))
        fields.problem("wait_seconds", fmt::format("must be 0 to {}", kLongestWait.count()));
    fields.done();
    return asked ? seconds(*asked) : kDefaultWait;
}

}  // namespace

bool is_tool_enabled(const dsl::Agent& agent, std::string_view tool) {
    const std::string name(tool);
    const auto exact = agent.tools.find(name);
    if (exact != agent.tools.end()) return exact->second.enabled;
    const auto matches = [&](const auto& rule) {
        return ::fnmatch(rule.first.c_str(), name.c_str(), 0) == 0;
    };
    const auto glob = std::find_if(agent.tools.begin(), agent.tools.end(), matches);
    return glob == agent.tools.end() || glob->second.enabled;
}

asio::awaitable<http::Response> McpServer::handle(
    std::string body, Origin origin, const dsl::Agent& agent
) {
    const auto parsed = parse_json(body);
    if (!parsed) co_return json_response(failure(nullptr, kParseError, parsed.error()));
    const auto& message = *parsed;
    if (!message.is_object() || string_or(message, "jsonrpc") != "2.0")
        co_return json_response(failure(nullptr, kInvalidRequest, "not a JSON-RPC 2.0 message"));
    const auto id = message.value("id", Json(nullptr));
    const auto method = string_or(message, "method");
    // Notifications and answers need no more than to be taken.
    if (id.is_null() || method.empty()) co_return http::Response::empty(202);
    const auto params = message.value("params", Json::object());
    if (method == "initialize") co_return json_response(reply(id, initialize_result(params)));
    if (method == "ping") co_return json_response(reply(id, Json::object()));
    if (method == "tools/list") co_return json_response(reply(id, {{"tools", tools_for(agent)}}));
    if (method != "tools/call")
        co_return json_response(
            failure(id, kMethodNotFound, fmt::format("no method \"{}\"", method))
        );
    const auto name = string_or(params, "name");
    if (!has_tool(agent, name))
        co_return json_response(failure(id, kInvalidParams, fmt::format("no tool \"{}\"", name)));
    if (name == "subagent_result")
        co_return stream_result(id, params.value("arguments", Json::object()), std::move(origin));
    auto result = co_await call_tool(params, std::move(origin), agent);
    co_return json_response(reply(id, std::move(result)));
}

asio::awaitable<Json> McpServer::call_tool(Json params, Origin origin, const dsl::Agent&) {
    const auto name = string_or(params, "name");
    auto arguments = params.value("arguments", Json::object());
    auto key = key_of(params, arguments);
    try {
        if (name == "plan_update")
            co_return co_await plan_update(std::move(arguments), std::move(origin));
        if (name == "subagent_invoke")
            co_return co_await subagent_invoke(
                std::move(arguments), std::move(origin), std::move(key)
            );
        co_return co_await signal_emit(std::move(arguments), std::move(origin), std::move(key));
    } catch (const Error& error) {
        co_return tool_error(error);
    }
}

asio::awaitable<Json> McpServer::plan_update(Json arguments, Origin origin) {
    Fields fields(arguments, "arguments");
    const auto* list = fields.value("entries");
    std::vector<PlanItem> entries;
    if (list != nullptr && !list->is_array()) fields.problem("entries", "must be an array");
    if (list != nullptr && list->is_array()) {
        for (const auto& entry : *list) {
            const auto where = fmt::format("entries[{}]", entries.size());
            Fields one(entry, where);
            PlanItem item{
                one.optional_string("id").value_or(""), one.string("text"),
                one.optional_string("status").value_or("pending")
            };
            for (const auto& problem : one.problems()) fields.problem(where, problem);
            const bool known = item.status == "pending" || item.status == "in_progress" ||
                               item.status == "completed";
            if (!known) fields.problem(where, "status must be pending, in_progress or completed");
            entries.push_back(std::move(item));
        }
    }
    fields.done();
    const auto count = entries.size();
    co_await host_.update_plan(std::move(origin), std::move(entries));
    co_return tool_text({{"entries", count}}, false);
}

asio::awaitable<Json> McpServer::subagent_invoke(Json arguments, Origin origin, std::string key) {
    Fields fields(arguments, "arguments");
    auto agent = fields.string("agent");
    auto task = fields.string("task");
    fields.done();
    const auto id =
        co_await host_.invoke(std::move(origin), std::move(agent), std::move(task), std::move(key));
    co_return tool_text({{"invocation", id.str()}, {"state", "starting"}}, false);
}

asio::awaitable<Json> McpServer::signal_emit(Json arguments, Origin origin, std::string key) {
    Fields fields(arguments, "arguments");
    auto name = fields.string("signal");
    const auto* data = fields.optional_value("data");
    fields.done();
    auto text = data == nullptr ? std::string("{}") : dump_json(*data);
    const auto receipt =
        co_await host_.signal(std::move(origin), std::move(name), std::move(text), std::move(key));
    co_return tool_text({{"signal_seq", receipt.seq}}, false);
}

asio::awaitable<Json> McpServer::subagent_result(
    Json arguments, Origin origin, http::BodyWriter& writer
) {
    try {
        const InvocationId id(string_or(arguments, "invocation"));
        const auto until = Clock::now() + wait_of(arguments);
        while (true) {
            const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
            auto answer =
                co_await try_wait(origin, id, std::clamp<milliseconds>(left, {}, kKeepAlive));
            if (answer) {
                const Json about = {
                    {"invocation", id.str()},
                    {"outcome", answer->outcome},
                    {"reason", answer->reason},
                    {"result", answer->result}
                };
                co_return tool_text(about, false);
            }
            if (Clock::now() >= until)
                throw Error(Errc::timeout, "the invocation " + id.str() + " still works");
            if (!co_await writer.write(": working\n\n"))
                throw Error(Errc::unavailable, "the caller is gone");
        }
    } catch (const Error& error) {
        co_return tool_error(error);
    }
}

asio::awaitable<std::optional<SubagentAnswer>> McpServer::try_wait(
    Origin origin, InvocationId id, milliseconds deadline
) {
    try {
        co_return co_await host_.wait(std::move(origin), std::move(id), deadline);
    } catch (const Error& error) {
        if (error.code() != Errc::timeout) throw;
        co_return std::nullopt;
    }
}

asio::awaitable<void> McpServer::send_result(
    http::BodyWriter& writer, Json id, Json arguments, Origin origin
) {
    auto result = co_await subagent_result(std::move(arguments), std::move(origin), writer);
    auto text = sse(reply(id, std::move(result)));
    // A caller that is gone asks again: the result stays in the session's state.
    (void)co_await writer.write(std::move(text));
}

http::Response McpServer::stream_result(Json id, Json arguments, Origin origin) {
    // The answer may take as long as an agent works; a stream with comments keeps the wire alive.
    http::Response response;
    response.media = http::Media::event_stream;
    auto send = [this, id = std::move(id), arguments = std::move(arguments),
                 origin = std::move(origin)](http::BodyWriter& writer) {
        return send_result(writer, id, arguments, origin);
    };
    response.stream = std::move(send);
    return response;
}

}  // namespace volary::agent
