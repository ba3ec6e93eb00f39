// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/types.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"

#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::acp {
namespace {

using Kind = Update::Kind;

constexpr std::array<std::pair<Kind, std::string_view>, 6> kUpdateNames{{
    {Kind::user_message, "user_message_chunk"},
    {Kind::agent_message, "agent_message_chunk"},
    {Kind::agent_thought, "agent_thought_chunk"},
    {Kind::tool_call, "tool_call"},
    {Kind::tool_update, "tool_call_update"},
    {Kind::plan, "plan"},
}};

constexpr std::array kStopReasons{
    StopReason::end_turn, StopReason::max_tokens, StopReason::max_turn_requests,
    StopReason::refusal, StopReason::cancelled
};

constexpr std::array kToolStatuses{
    ToolStatus::pending, ToolStatus::in_progress, ToolStatus::completed, ToolStatus::failed
};

const Json& empty_object() {
    static const Json empty = Json::object();
    return empty;
}

/// The member if it is an object, else an empty one: foreign members may be of any type.
const Json& object_at(const Json& object, std::string_view key) {
    if (!object.is_object()) return empty_object();
    const auto found = object.find(key);
    return found != object.end() && found->is_object() ? *found : empty_object();
}

const Json& array_at(const Json& object, std::string_view key) {
    static const Json empty = Json::array();
    if (!object.is_object()) return empty;
    const auto found = object.find(key);
    return found != object.end() && found->is_array() ? *found : empty;
}

std::string text_at(const Json& object, std::string_view key) {
    return object.is_object() ? string_or(object, key) : std::string();
}

bool flag_at(const Json& object, std::string_view key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::int64_t number_at(const Json& object, std::string_view key, std::int64_t fallback) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>()
                                                               : fallback;
}

std::string required(const Json& object, std::string_view key, std::string_view where) {
    auto text = text_at(object, key);
    if (text.empty())
        throw Error(Errc::invalid, fmt::format("{}: {}: required string", where, key));
    return text;
}

/// What was built from JSON text of ours; text that is no JSON object becomes an empty one.
Json json_of(const std::string& text) {
    constexpr JsonLimits kOwnText{std::size_t{64} << 20U, 128};  // as a line of the protocol
    auto doc = parse_json(text, kOwnText);
    return doc && doc->is_object() ? std::move(*doc) : Json::object();
}

Json text_block(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

std::string block_text(const Json& block) {
    const auto type = text_at(block, "type");
    if (type == "text") return text_at(block, "text");
    if (type == "resource_link") return text_at(block, "uri");
    if (type == "resource") {
        const auto& resource = object_at(block, "resource");
        auto text = text_at(resource, "text");
        return text.empty() ? text_at(resource, "uri") : text;
    }
    return {};
}

void append_line(std::string& out, std::string_view line) {
    if (line.empty()) return;
    if (!out.empty()) out += '\n';
    out += line;
}

std::optional<ToolStatus> tool_status(std::string_view word) {
    for (const auto status : kToolStatuses)
        if (to_string(status) == word) return status;
    return std::nullopt;
}

Update::Tool parse_tool(const Json& object) {
    Update::Tool tool;
    tool.id = required(object, "toolCallId", "tool call");
    tool.title = text_at(object, "title");
    tool.kind = text_at(object, "kind");
    tool.status = tool_status(text_at(object, "status"));
    if (const auto input = object.find("rawInput"); input != object.end())
        tool.raw_input = dump_json(*input);
    for (const auto& content : array_at(object, "content")) {
        if (text_at(content, "type") == "content")
            append_line(tool.text, block_text(object_at(content, "content")));
        else if (text_at(content, "type") == "diff")
            append_line(tool.text, "diff " + text_at(content, "path"));
    }
    return tool;
}

void put_tool(Json& object, const Update::Tool& tool) {
    object["toolCallId"] = tool.id;
    if (!tool.title.empty()) object["title"] = tool.title;
    if (!tool.kind.empty()) object["kind"] = tool.kind;
    if (tool.status) object["status"] = to_string(*tool.status);
    if (!tool.raw_input.empty()) object["rawInput"] = json_of(tool.raw_input);
    if (!tool.text.empty())
        object["content"] =
            Json::array({{{"type", "content"}, {"content", text_block(tool.text)}}});
}

Json usage_json(const TokenUsage& usage) {
    return {{"input_tokens", usage.input_tokens}, {"output_tokens", usage.output_tokens}};
}

}  // namespace

std::string_view to_string(StopReason reason) noexcept {
    switch (reason) {
        case StopReason::end_turn:
            return "end_turn";
        case StopReason::max_tokens:
            return "max_tokens";
        case StopReason::max_turn_requests:
            return "max_turn_requests";
        case StopReason::refusal:
            return "refusal";
        case StopReason::cancelled:
            return "cancelled";
    }
    return "end_turn";
}

std::string_view to_string(ToolStatus status) noexcept {
    switch (status) {
        case ToolStatus::pending:
            return "pending";
        case ToolStatus::in_progress:
            return "in_progress";
        case ToolStatus::completed:
            return "completed";
        case ToolStatus::failed:
            return "failed";
    }
    return "pending";
}

Json make_initialize(std::string_view client_name, std::string_view client_version) {
    return {
        {"protocolVersion", kProtocolVersion},
        {"clientCapabilities",
         {{"fs", {{"readTextFile", false}, {"writeTextFile", false}}}, {"terminal", false}}},
        {"clientInfo", {{"name", client_name}, {"version", client_version}}},
    };
}

Json make_initialize_result(const AgentInfo& agent) {
    Json capabilities = {
        {"loadSession", agent.load_session},
        {"mcpCapabilities", {{"http", agent.mcp_http}, {"sse", false}}},
        {"promptCapabilities", {{"image", false}, {"audio", false}, {"embeddedContext", true}}},
    };
    if (agent.steps) capabilities["_meta"] = {{kMetaKey, {{"steps", true}}}};
    return {
        {"protocolVersion", agent.protocol_version},
        {"agentCapabilities", std::move(capabilities)},
        {"agentInfo", {{"name", agent.name}, {"version", agent.version}}},
        {"authMethods", Json::array()},
    };
}

AgentInfo parse_initialize_result(const Json& result) {
    if (!result.is_object() || !result.contains("protocolVersion"))
        throw Error(Errc::invalid, "initialize: protocolVersion: required integer");
    const auto& capabilities = object_at(result, "agentCapabilities");
    AgentInfo agent;
    agent.protocol_version = static_cast<int>(number_at(result, "protocolVersion", 0));
    agent.name = text_at(object_at(result, "agentInfo"), "name");
    agent.version = text_at(object_at(result, "agentInfo"), "version");
    agent.load_session = flag_at(capabilities, "loadSession");
    agent.mcp_http = flag_at(object_at(capabilities, "mcpCapabilities"), "http");
    agent.steps = flag_at(object_at(object_at(capabilities, "_meta"), kMetaKey), "steps");
    return agent;
}

Json make_session_setup(const SessionSetup& setup) {
    auto servers = Json::array();
    for (const auto& server : setup.mcp_servers) {
        auto headers = Json::array();
        for (const auto& [name, value] : server.headers)
            headers.push_back({{"name", name}, {"value", value}});
        servers.push_back(
            {{"type", "http"}, {"name", server.name}, {"url", server.url}, {"headers", headers}}
        );
    }
    auto tools = Json::object();
    for (const auto& [name, enabled] : setup.tools) tools[name] = {{"enabled", enabled}};
    Json meta = {{"tools", std::move(tools)}};
    if (!setup.system_prompt.empty()) meta["systemPrompt"] = setup.system_prompt;
    if (!setup.model.empty()) meta["model"] = setup.model;
    if (!setup.model_url.empty()) meta["modelUrl"] = setup.model_url;
    if (setup.max_steps > 0) meta["maxSteps"] = setup.max_steps;
    Json params = {
        {"cwd", setup.cwd},
        {"mcpServers", std::move(servers)},
        {"_meta", {{kMetaKey, std::move(meta)}}},
    };
    if (!setup.session_id.empty()) params["sessionId"] = setup.session_id;
    return params;
}

SessionSetup parse_session_setup(const Json& params) {
    SessionSetup setup;
    setup.session_id = text_at(params, "sessionId");
    setup.cwd = required(params, "cwd", "session");
    for (const auto& entry : array_at(params, "mcpServers")) {
        if (text_at(entry, "type") != "http") continue;
        McpServer server;
        server.name = required(entry, "name", "mcpServers");
        server.url = required(entry, "url", "mcpServers");
        for (const auto& header : array_at(entry, "headers"))
            server.headers[text_at(header, "name")] = text_at(header, "value");
        setup.mcp_servers.push_back(std::move(server));
    }
    const auto& meta = object_at(object_at(params, "_meta"), kMetaKey);
    setup.system_prompt = text_at(meta, "systemPrompt");
    setup.model = text_at(meta, "model");
    setup.model_url = text_at(meta, "modelUrl");
    setup.max_steps = static_cast<int>(number_at(meta, "maxSteps", 0));
    for (const auto& [name, rule] : object_at(meta, "tools").items()) {
        const bool enabled =
            !rule.is_object() || !rule.contains("enabled") || flag_at(rule, "enabled");
        setup.tools[name] = enabled;
    }
    return setup;
}

Json make_session_ref(std::string_view session_id) { return {{"sessionId", session_id}}; }

std::string parse_session_ref(const Json& object) {
    return required(object, "sessionId", "session");
}

Json make_prompt(std::string_view session_id, std::string_view text) {
    return {{"sessionId", session_id}, {"prompt", Json::array({text_block(text)})}};
}

std::string parse_prompt_text(const Json& params) {
    std::string text;
    for (const auto& block : array_at(params, "prompt")) append_line(text, block_text(block));
    return text;
}

Json make_prompt_result(StopReason reason) { return {{"stopReason", to_string(reason)}}; }

StopReason parse_prompt_result(const Json& result) {
    const auto word = required(result, "stopReason", "prompt result");
    for (const auto reason : kStopReasons)
        if (to_string(reason) == word) return reason;
    throw Error(Errc::invalid, "prompt result: unknown stopReason \"" + word + "\"");
}

Json make_update(const Update& update) {
    Json object = Json::object();
    if (update.kind == Kind::other) {
        object = json_of(update.raw);
        object["sessionUpdate"] = update.name;
    }
    for (const auto& [kind, name] : kUpdateNames)
        if (kind == update.kind) object["sessionUpdate"] = name;
    switch (update.kind) {
        case Kind::user_message:
        case Kind::agent_message:
        case Kind::agent_thought:
            object["content"] = text_block(update.text);
            break;
        case Kind::tool_call:
        case Kind::tool_update:
            put_tool(object, update.tool);
            break;
        case Kind::plan:
            object["entries"] = Json::array();
            for (const auto& entry : update.plan)
                object["entries"].push_back(
                    {{"content", entry.text}, {"status", entry.status}, {"priority", entry.priority}
                    }
                );
            break;
        case Kind::other:
            break;
    }
    return {{"sessionId", update.session_id}, {"update", std::move(object)}};
}

Update parse_update(const Json& params) {
    Update update;
    update.session_id = required(params, "sessionId", "session/update");
    const auto& object = object_at(params, "update");
    update.name = required(object, "sessionUpdate", "session/update");
    for (const auto& [kind, name] : kUpdateNames)
        if (name == update.name) update.kind = kind;
    switch (update.kind) {
        case Kind::user_message:
        case Kind::agent_message:
        case Kind::agent_thought:
            update.text = block_text(object_at(object, "content"));
            break;
        case Kind::tool_call:
        case Kind::tool_update:
            update.tool = parse_tool(object);
            break;
        case Kind::plan:
            for (const auto& entry : array_at(object, "entries"))
                update.plan.push_back(
                    {text_at(entry, "content"), text_at(entry, "status"), text_at(entry, "priority")
                    }
                );
            break;
        case Kind::other:
            update.raw = dump_json(object);
            break;
    }
    return update;
}

PermissionRequest parse_permission_request(const Json& params) {
    PermissionRequest request;
    request.session_id = required(params, "sessionId", "session/request_permission");
    request.tool = parse_tool(object_at(params, "toolCall"));
    for (const auto& option : array_at(params, "options"))
        request.options.push_back(
            {required(option, "optionId", "permission option"), text_at(option, "name"),
             text_at(option, "kind")}
        );
    return request;
}

Json make_permission_selected(std::string_view option_id) {
    return {{"outcome", {{"outcome", "selected"}, {"optionId", option_id}}}};
}

Json make_permission_cancelled() { return {{"outcome", {{"outcome", "cancelled"}}}}; }

Json make_step(const Step& step) {
    return {
        {"sessionId", step.session_id},
        {"step",
         {{"id", step.id},
          {"type", step.type},
          {"name", step.name},
          {"title", step.title},
          {"arguments", json_of(step.arguments)}}},
    };
}

Step parse_step(const Json& params) {
    Step step;
    step.session_id = required(params, "sessionId", "_volary/step");
    const auto& object = object_at(params, "step");
    step.id = required(object, "id", "_volary/step");
    step.type = required(object, "type", "_volary/step");
    if (step.type != "model" && step.type != "tool")
        throw Error(Errc::invalid, "_volary/step: type: must be \"model\" or \"tool\"");
    step.name = text_at(object, "name");
    step.title = text_at(object, "title");
    step.arguments = dump_json(object_at(object, "arguments"));
    return step;
}

Json make_step_decision(const StepDecision& decision) {
    Json result = {
        {"decision", decision.proceed ? "proceed" : "refuse"}, {"notes", decision.notes}
    };
    if (!decision.arguments.empty()) result["arguments"] = json_of(decision.arguments);
    return result;
}

StepDecision parse_step_decision(const Json& result) {
    StepDecision decision;
    const auto word = required(result, "decision", "_volary/step");
    if (word != "proceed" && word != "refuse")
        throw Error(Errc::invalid, "_volary/step: decision: must be \"proceed\" or \"refuse\"");
    decision.proceed = word == "proceed";
    if (const auto found = result.find("arguments"); found != result.end() && found->is_object())
        decision.arguments = dump_json(*found);
    for (const auto& note : array_at(result, "notes"))
        if (note.is_string()) decision.notes.push_back(note.get<std::string>());
    return decision;
}

Json make_step_end(const StepEnd& end) {
    Json step = {
        {"id", end.id},
        {"ok", end.ok},
        {"result", utf8_prefix(end.result, kStepResultBytes)},
        {"duration_ms", end.duration_ms},
    };
    if (end.usage) step["usage"] = usage_json(*end.usage);
    return {{"sessionId", end.session_id}, {"step", std::move(step)}};
}

StepEnd parse_step_end(const Json& params) {
    StepEnd end;
    end.session_id = required(params, "sessionId", "_volary/step_end");
    const auto& object = object_at(params, "step");
    end.id = required(object, "id", "_volary/step_end");
    end.ok = flag_at(object, "ok");
    end.result = std::string(utf8_prefix(text_at(object, "result"), kStepResultBytes));
    end.duration_ms = number_at(object, "duration_ms", 0);
    if (const auto usage = object.find("usage"); usage != object.end() && usage->is_object())
        end.usage =
            TokenUsage{number_at(*usage, "input_tokens", 0), number_at(*usage, "output_tokens", 0)};
    return end;
}

}  // namespace volary::acp
