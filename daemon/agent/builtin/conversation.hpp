// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace volary::builtin {

/// A tool call of the model that has no result yet.
struct ToolUse {
    std::string id;
    std::string name;
    std::string input;  ///< JSON object text
};

/// The messages of one session in the Messages dialect, always fit to be sent: roles alternate,
/// and repair() gives every tool call a result. Pure.
class Conversation {
public:
    Conversation();
    explicit Conversation(Json messages);
    Conversation(Conversation&&) noexcept;
    Conversation& operator=(Conversation&&) noexcept;
    ~Conversation();

    /// `content` of the user: joins the last message when that is the user's, too.
    void add_user_text(std::string_view text);
    /// What the operator wants the agent to know, marked as such.
    void add_note(std::string_view text);
    void add_tool_result(std::string_view id, std::string_view text, bool failed);
    /// `content`: array of blocks. An empty one adds nothing.
    void add_assistant(const Json& content);

    /// Tool calls of the last assistant message that have no result.
    std::vector<ToolUse> open_tools() const;

    /// Gives every open tool call a failed result that says `why`.
    void repair(std::string_view why);

    const Json& messages() const noexcept { return *messages_; }

    /// The text of the newest message, at most `max` bytes of it, for titles.
    std::string last_text(std::size_t max) const;

private:
    Json& user_content();

    std::unique_ptr<Json> messages_;
};

/// Reads the file of a session. Throws Error{not_found} when there is none, Error{invalid} when it
/// is not one of ours; both name it.
Conversation load_conversation(const std::string& file);

/// Replaces the file at once or not at all; makes its folder. Throws Error{io}.
void save_conversation(const std::string& file, const Conversation& conversation);

}  // namespace volary::builtin
