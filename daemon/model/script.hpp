// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::model {

/// When a reply is the right one; all that is set must hold.
struct When {
    /// Assistant messages since the last plain text of the user.
    std::optional<int> turn;
    /// Name of the tool whose result came last since then.
    std::optional<std::string> last_tool;
    std::vector<std::string> contains;         ///< each is somewhere in the conversation
    std::vector<std::string> not_contains;     ///< none is anywhere in the conversation
    std::vector<std::string> last_contains;    ///< each is in the last message
    std::vector<std::string> system_contains;  ///< each is in the system prompt
};

/// A content block of a reply; templates are not resolved yet.
struct Block {
    enum class Type { text, tool_use };
    Type type = Type::text;
    std::string name;                   ///< tool_use: the tool
    std::shared_ptr<const Json> value;  ///< text: a string or a template; tool_use: the input
};

/// Instead of content: what the provider fails with.
struct ScriptedError {
    std::string type;  ///< e.g. "overloaded_error"
    std::string message;
};

struct Reply {
    When when;
    std::chrono::milliseconds delay{20};       ///< before each chunk
    std::chrono::milliseconds first_delay{0};  ///< before the first chunk, on top of `delay`
    std::string stop_reason;                   ///< empty: from the content
    std::vector<Block> content;
    std::optional<ScriptedError> error;
};

/// A replay script (docs/replay.md).
struct Script {
    std::string name;  ///< of its file, without ".json"
    std::vector<Reply> replies;
};

/// A script of a demo is some kilobytes; one that holds whole files in its replies fits too.
constexpr std::size_t kMaxScriptBytes = std::size_t{4} << 20U;

/// Throws Error{invalid} whose details name every problem as "file: replies[2].when.turn: ...".
Script parse_script(std::string_view text, const std::filesystem::path& file);

/// Reads and parses it. Throws Error{not_found} or Error{io} naming the file, too.
Script load_script(const std::filesystem::path& file);

}  // namespace volary::model
