// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/conversation.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/unique_fd.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <set>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

constexpr int kVersion = 1;
/// What a provider takes in one request bounds what is worth keeping.
constexpr JsonLimits kFileLimits{std::size_t{64} << 20U, 160};

Json text_block(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

bool valid_messages(const Json& messages) {
    if (!messages.is_array()) return false;
    return std::all_of(messages.begin(), messages.end(), [](const Json& message) {
        return message.is_object() && message.contains("content") &&
               message["content"].is_array() &&
               (string_or(message, "role") == "user" || string_or(message, "role") == "assistant");
    });
}

std::string read_whole(const std::string& file) {
    const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd && errno == ENOENT)
        throw Error(Errc::not_found, fmt::format("no conversation \"{}\"", file));
    if (!fd) throw_errno("open", file);
    std::string text;
    std::string buffer(std::size_t{64} << 10U, '\0');
    while (true) {
        const auto size = ::read(fd.get(), buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) throw_errno("read", file);
        if (size == 0) return text;
        text.append(buffer, 0, static_cast<std::size_t>(size));
        if (text.size() > kFileLimits.bytes)
            throw Error(Errc::too_large, fmt::format("conversation \"{}\" is too large", file));
    }
}

void write_whole(const std::string& file, std::string_view text) {
    const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) throw_errno("open", file);
    while (!text.empty()) {
        const auto size = ::write(fd.get(), text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) throw_errno("write", file);
        text.remove_prefix(static_cast<std::size_t>(size));
    }
}

}  // namespace

Conversation::Conversation() : messages_(std::make_unique<Json>(Json::array())) {}
Conversation::Conversation(Json messages)
    : messages_(std::make_unique<Json>(std::move(messages))) {}
Conversation::Conversation(Conversation&&) noexcept = default;
Conversation& Conversation::operator=(Conversation&&) noexcept = default;
Conversation::~Conversation() = default;

Json& Conversation::user_content() {
    if (messages_->empty() || messages_->back()["role"] != "user")
        messages_->push_back({{"role", "user"}, {"content", Json::array()}});
    return messages_->back()["content"];
}

void Conversation::add_user_text(std::string_view text) {
    user_content().push_back(text_block(text));
}

void Conversation::add_note(std::string_view text) {
    add_user_text(fmt::format("<operator-note>\n{}\n</operator-note>", text));
}

void Conversation::add_tool_result(std::string_view id, std::string_view text, bool failed) {
    Json result = {
        {"type", "tool_result"},
        {"tool_use_id", id},
        {"content", Json::array({text_block(text.empty() ? "(no output)" : text)})},
    };
    if (failed) result["is_error"] = true;
    auto& content = user_content();
    // The dialect wants results before any text of the same message.
    auto at = std::find_if(content.begin(), content.end(), [](const Json& block) {
        return block["type"] != "tool_result";
    });
    content.insert(at, std::move(result));
}

void Conversation::add_assistant(const Json& content) {
    if (content.empty()) return;
    messages_->push_back({{"role", "assistant"}, {"content", content}});
}

std::vector<ToolUse> Conversation::open_tools() const {
    std::set<std::string> answered;
    std::vector<ToolUse> open;
    for (auto message = messages_->rbegin(); message != messages_->rend(); ++message) {
        const bool assistant = (*message)["role"] == "assistant";
        for (const auto& block : (*message)["content"]) {
            if (!block.is_object()) continue;
            const auto type = string_or(block, "type");
            if (type == "tool_result") answered.insert(string_or(block, "tool_use_id"));
            if (!assistant || type != "tool_use") continue;
            const auto id = string_or(block, "id");
            if (answered.contains(id)) continue;
            const auto input = block.find("input");
            open.push_back(
                {id, string_or(block, "name"), input == block.end() ? "{}" : dump_json(*input)}
            );
        }
        if (assistant) break;
    }
    return open;
}

void Conversation::repair(std::string_view why) {
    for (const auto& tool : open_tools()) add_tool_result(tool.id, why, true);
}

std::string Conversation::last_text(std::size_t max) const {
    if (messages_->empty()) return {};
    std::string text;
    for (const auto& block : messages_->back()["content"]) {
        if (!block.is_object() || string_or(block, "type") != "text") continue;
        if (!text.empty()) text += '\n';
        text += string_or(block, "text");
    }
    return std::string(utf8_prefix(text, max));
}

Conversation load_conversation(const std::string& file) {
    const auto text = read_whole(file);
    auto doc = parse_json(text, kFileLimits);
    const bool ours = doc && doc->is_object() && doc->value("version", 0) == kVersion &&
                      doc->contains("messages") && valid_messages((*doc)["messages"]);
    if (!ours)
        throw Error(Errc::invalid, fmt::format("\"{}\" is no conversation of this agent", file));
    return Conversation(std::move((*doc)["messages"]));
}

void save_conversation(const std::string& file, const Conversation& conversation) {
    std::error_code failure;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path(), failure);
    const auto fresh = file + ".new";
    write_whole(
        fresh,
        fmt::format(
            "{{\"version\":{},\"messages\":{}}}\n", kVersion, dump_json(conversation.messages())
        )
    );
    if (::rename(fresh.c_str(), file.c_str()) != 0) throw_errno("rename", fresh);
}

}  // namespace volary::builtin
