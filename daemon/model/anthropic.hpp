// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The Anthropic Messages dialect (https://docs.anthropic.com/en/api/messages-streaming), as far
/// as an answer is made of it here. Pure.
namespace volary::model::anthropic {

/// A finished answer: `content` is an array of text and tool_use blocks with their ids.
struct Answer {
    std::string id;
    std::string model;
    std::shared_ptr<const Json> content;
    std::string stop_reason;
    std::int64_t input_tokens = 0;
    std::int64_t output_tokens = 0;
};

/// One Server-Sent Event, ready to send.
struct Frame {
    std::string bytes;
    bool delta = false;              ///< carries generated text: wait before it
    std::int64_t output_tokens = 0;  ///< generated so far, this frame included
};

/// The answer as the stream that a provider would send: message_start, ping, the blocks in small
/// deltas, message_delta with the stop reason and the usage, message_stop.
std::vector<Frame> stream_frames(const Answer& answer);

/// The answer as one JSON document (no `"stream": true` in the request).
std::string message_json(const Answer& answer);

/// {"type":"error","error":{"type","message"}}
std::string error_json(std::string_view type, std::string_view message);

/// HTTP status of an error type; nothing for a word that the dialect does not have.
std::optional<int> error_status(std::string_view type);
/// The error type for a status that is not in the table either way: nearest by its class.
std::string_view error_type(int status);

/// A deterministic estimate: four bytes of text make a token, and nothing is free.
std::int64_t estimate_tokens(std::size_t bytes);

/// Pieces of `text` of about `size` bytes that never cut a character and rather end at spaces.
std::vector<std::string_view> split_text(std::string_view text, std::size_t size);

}  // namespace volary::model::anthropic
