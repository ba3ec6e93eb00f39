// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"
#include "daemon/acp/types.hpp"
#include "daemon/agent/builtin/sse.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace volary::builtin {

/// What a model said, whole.
struct ModelAnswer {
    std::shared_ptr<const Json> content;  ///< array of blocks, ready for the next request
    std::string stop_reason;
    acp::TokenUsage usage;
};

/// A piece of text as it arrives.
struct Delta {
    enum class Kind { text, thinking };
    Kind kind = Kind::text;
    std::string text;
};

/// Puts the events of an Anthropic Messages stream together
/// (https://docs.anthropic.com/en/api/messages-streaming). Unknown events and blocks are
/// tolerated. Pure.
class MessageStream {
public:
    /// A block index beyond this is a provider that lies.
    static constexpr std::size_t kMaxBlocks = 4096;

    MessageStream();
    ~MessageStream();
    MessageStream(const MessageStream&) = delete;
    MessageStream& operator=(const MessageStream&) = delete;

    /// The text that this event adds, if any. Throws Error{unavailable} for an `error` event,
    /// Error{invalid} for data that is no JSON.
    std::vector<Delta> feed(const SseEvent& event);

    /// Throws Error{unavailable} when the stream broke off before message_stop.
    ModelAnswer finish();

private:
    struct Block;
    void start_block(const Json& data);
    void add_delta(const Json& data, std::vector<Delta>& out);
    void read_usage(const Json& usage);

    std::map<std::size_t, std::unique_ptr<Block>> blocks_;
    std::string stop_reason_;
    acp::TokenUsage usage_;
    bool stopped_ = false;
};

}  // namespace volary::builtin
