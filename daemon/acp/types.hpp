// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The shapes of the Agent Client Protocol, version 1 (https://agentclientprotocol.com), that
/// volary speaks, both sides, and its own extensions (docs/agents.md). make_* builds what is sent;
/// parse_* reads what a peer sent: it ignores members that it does not know and throws
/// Error{invalid} naming what is missing. JSON that is only passed on is kept as its text.
namespace volary::acp {

constexpr int kProtocolVersion = 1;
/// The key of our extensions in `_meta` objects.
constexpr std::string_view kMetaKey = "volary.dev";

namespace method {
constexpr const char* kInitialize = "initialize";
constexpr const char* kSessionNew = "session/new";
constexpr const char* kSessionLoad = "session/load";
constexpr const char* kSessionPrompt = "session/prompt";
constexpr const char* kSessionCancel = "session/cancel";  // notification
constexpr const char* kSessionUpdate = "session/update";  // notification
constexpr const char* kRequestPermission = "session/request_permission";
constexpr const char* kStep = "_volary/step";
constexpr const char* kStepEnd = "_volary/step_end";  // notification
}  // namespace method

/// What an agent says of itself in answer to `initialize`.
struct AgentInfo {
    int protocol_version = kProtocolVersion;
    std::string name;
    std::string version;
    bool load_session = false;
    bool mcp_http = false;
    bool steps = false;  ///< it asks `_volary/step` before each model and tool call
};

Json make_initialize(std::string_view client_name, std::string_view client_version);
Json make_initialize_result(const AgentInfo& agent);
AgentInfo parse_initialize_result(const Json& result);

struct McpServer {
    std::string name;
    std::string url;
    std::map<std::string, std::string> headers;
};

/// Parameters of session/new and session/load.
struct SessionSetup {
    std::string session_id;  ///< session/load only
    std::string cwd;         ///< absolute path in the agent's world
    std::vector<McpServer> mcp_servers;
    // `_meta["volary.dev"]`, for volary-agent; other agents ignore it.
    std::string system_prompt;
    std::string model;                  ///< alias
    std::string model_url;              ///< e.g. "http://models.volary.internal/anthropic"
    int max_steps = 0;                  ///< 0: the agent's own default
    std::map<std::string, bool> tools;  ///< tool name -> enabled; absent means enabled
};

Json make_session_setup(const SessionSetup& setup);
SessionSetup parse_session_setup(const Json& params);
/// `{"sessionId": ...}` and back: the answer of session/new, the parameters of session/cancel.
Json make_session_ref(std::string_view session_id);
std::string parse_session_ref(const Json& object);

Json make_prompt(std::string_view session_id, std::string_view text);
/// The text blocks of a prompt, joined by newlines; links and embedded resources as their URI.
std::string parse_prompt_text(const Json& params);

enum class StopReason { end_turn, max_tokens, max_turn_requests, refusal, cancelled };
std::string_view to_string(StopReason reason) noexcept;
Json make_prompt_result(StopReason reason);
StopReason parse_prompt_result(const Json& result);

enum class ToolStatus { pending, in_progress, completed, failed };
std::string_view to_string(ToolStatus status) noexcept;

/// One `session/update`.
struct Update {
    enum class Kind {
        user_message,   ///< user_message_chunk: `text`
        agent_message,  ///< agent_message_chunk: `text`
        agent_thought,  ///< agent_thought_chunk: `text`
        tool_call,      ///< `tool`
        tool_update,    ///< tool_call_update: `tool`; what is empty has not changed
        plan,           ///< `plan`
        other           ///< `name` says which, `raw` has it
    };
    struct Tool {
        std::string id;
        std::string title;
        std::string kind;  ///< read, edit, delete, move, search, execute, think, fetch, other
        std::optional<ToolStatus> status;
        std::string raw_input;  ///< JSON text, empty when absent
        std::string text;       ///< its text content, blocks joined by newlines
    };
    struct PlanEntry {
        std::string text;
        std::string status;    ///< pending, in_progress, completed
        std::string priority;  ///< high, medium, low
    };

    std::string session_id;
    Kind kind = Kind::other;
    std::string name;  ///< the `sessionUpdate` word as the peer wrote it
    std::string text;
    Tool tool;
    std::vector<PlanEntry> plan;
    std::string raw;  ///< the update object as JSON text, for Kind::other
};

Json make_update(const Update& update);
Update parse_update(const Json& params);

/// A question of an agent; answer it with make_permission_*.
struct PermissionRequest {
    struct Option {
        std::string id;
        std::string name;
        std::string kind;  ///< allow_once, allow_always, reject_once, reject_always
    };
    std::string session_id;
    Update::Tool tool;
    std::vector<Option> options;
};

PermissionRequest parse_permission_request(const Json& params);
Json make_permission_selected(std::string_view option_id);
Json make_permission_cancelled();

struct TokenUsage {
    std::int64_t input_tokens = 0;
    std::int64_t output_tokens = 0;
    bool operator==(const TokenUsage&) const = default;
};

/// One model call or tool call that an agent asks to begin.
struct Step {
    std::string session_id;
    std::string id;
    std::string type;       ///< "model" or "tool"
    std::string name;       ///< model alias or tool name
    std::string title;      ///< one line for people
    std::string arguments;  ///< JSON object text
};

struct StepDecision {
    bool proceed = true;
    std::string arguments;           ///< JSON object text that replaces the asked one; empty: same
    std::vector<std::string> notes;  ///< what the operator wants the agent to know
};

struct StepEnd {
    std::string session_id;
    std::string id;
    bool ok = true;
    std::string result;  ///< at most kStepResultBytes
    std::int64_t duration_ms = 0;
    std::optional<TokenUsage> usage;
};
/// The log keeps results for people; the conversation keeps them whole.
constexpr std::size_t kStepResultBytes = 4096;

Json make_step(const Step& step);
Step parse_step(const Json& params);
Json make_step_decision(const StepDecision& decision);
StepDecision parse_step_decision(const Json& result);
Json make_step_end(const StepEnd& end);
StepEnd parse_step_end(const Json& params);

}  // namespace volary::acp
