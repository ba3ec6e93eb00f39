// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/history.hpp"

#include <optional>

#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

std::string result_text(const Json& block) {
    std::string text;
    const auto content = block.find("content");
    if (content == block.end() || !content->is_array()) return text;
    for (const auto& part : *content)
        if (part.is_object()) text += string_or(part, "text");
    return text;
}

std::optional<acp::Update> update_of(const Json& block, bool user) {
    using Kind = acp::Update::Kind;
    acp::Update update;
    const auto type = string_or(block, "type");
    if (type == "text") {
        update.kind = user ? Kind::user_message : Kind::agent_message;
        update.text = string_or(block, "text");
        if (user && update.text.starts_with("<operator-note>")) return std::nullopt;
    } else if (type == "thinking") {
        update.kind = Kind::agent_thought;
        update.text = string_or(block, "thinking");
    } else if (type == "tool_use") {
        update.kind = Kind::tool_call;
        update.tool.id = string_or(block, "id");
        update.tool.title = string_or(block, "name");
        update.tool.kind = "other";
        update.tool.status = acp::ToolStatus::pending;
        if (block.contains("input")) update.tool.raw_input = dump_json(block["input"]);
    } else if (type == "tool_result") {
        const auto failed = block.find("is_error");
        const bool is_error = failed != block.end() && failed->is_boolean() && failed->get<bool>();
        update.kind = Kind::tool_update;
        update.tool.id = string_or(block, "tool_use_id");
        update.tool.status = is_error ? acp::ToolStatus::failed : acp::ToolStatus::completed;
        update.tool.text = result_text(block);
    } else {
        return std::nullopt;
    }
    return update;
}

}  // namespace

std::vector<acp::Update> history_updates(
    const Conversation& conversation, const std::string& session_id
) {
    std::vector<acp::Update> updates;
    for (const auto& message : conversation.messages()) {
        const bool user = message["role"] == "user";
        for (const auto& block : message["content"]) {
            if (!block.is_object()) continue;
            auto update = update_of(block, user);
            if (!update) continue;
            update->session_id = session_id;
            updates.push_back(std::move(*update));
        }
    }
    return updates;
}

}  // namespace volary::builtin
