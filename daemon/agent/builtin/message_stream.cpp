// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/message_stream.hpp"

#include "base/error.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

constexpr JsonLimits kEventLimits{SseParser::kMaxEvent, 128};

const Json& member(const Json& object, std::string_view key) {
    static const Json none;
    if (!object.is_object()) return none;
    const auto found = object.find(key);
    return found == object.end() ? none : *found;
}

std::string text_of(const Json& object, std::string_view key) {
    return object.is_object() ? string_or(object, key) : std::string();
}

}  // namespace

struct MessageStream::Block {
    Json value;
    std::string input;  // fragments of a tool's input
};

MessageStream::MessageStream() = default;
MessageStream::~MessageStream() = default;

std::vector<Delta> MessageStream::feed(const SseEvent& event) {
    std::vector<Delta> out;
    const auto doc = parse_json(event.data, kEventLimits);
    if (!doc) throw Error(Errc::invalid, "the model's stream: " + doc.error());
    const auto type = text_of(*doc, "type");
    if (type == "error") {
        const auto& error = member(*doc, "error");
        throw Error(
            Errc::unavailable,
            fmt::format("the model: {}: {}", text_of(error, "type"), text_of(error, "message"))
        );
    }
    if (type == "message_start") read_usage(member(member(*doc, "message"), "usage"));
    if (type == "content_block_start") start_block(*doc);
    if (type == "content_block_delta") add_delta(*doc, out);
    if (type == "message_delta") {
        const auto reason = text_of(member(*doc, "delta"), "stop_reason");
        if (!reason.empty()) stop_reason_ = reason;
        read_usage(member(*doc, "usage"));
    }
    if (type == "message_stop") stopped_ = true;
    return out;
}

void MessageStream::read_usage(const Json& usage) {
    const auto& input = member(usage, "input_tokens");
    const auto& output = member(usage, "output_tokens");
    if (input.is_number_integer()) usage_.input_tokens = input.get<std::int64_t>();
    // Cumulative: the last one counts.
    if (output.is_number_integer()) usage_.output_tokens = output.get<std::int64_t>();
}

void MessageStream::start_block(const Json& data) {
    const auto& index = member(data, "index");
    const auto& block = member(data, "content_block");
    if (!index.is_number_unsigned() || !block.is_object()) return;
    const auto at = index.get<std::size_t>();
    if (at >= kMaxBlocks)
        throw Error(Errc::invalid, fmt::format("the model's stream: block {} is too many", at));
    auto& slot = blocks_[at];
    slot = std::make_unique<Block>();
    slot->value = block;
}

void MessageStream::add_delta(const Json& data, std::vector<Delta>& out) {
    const auto& index = member(data, "index");
    const auto& delta = member(data, "delta");
    if (!index.is_number_unsigned()) return;
    const auto found = blocks_.find(index.get<std::size_t>());
    if (found == blocks_.end()) return;
    auto& block = *found->second;
    const auto type = text_of(delta, "type");
    const auto append = [&](const char* key) {
        const auto piece = text_of(delta, key);
        block.value[key] = text_of(block.value, key) + piece;
        return piece;
    };
    if (type == "text_delta") out.push_back({Delta::Kind::text, append("text")});
    if (type == "thinking_delta") out.push_back({Delta::Kind::thinking, append("thinking")});
    if (type == "signature_delta") (void)append("signature");
    if (type == "input_json_delta") block.input += text_of(delta, "partial_json");
}

ModelAnswer MessageStream::finish() {
    if (!stopped_) throw Error(Errc::unavailable, "the model's stream broke off before its end");
    auto content = Json::array();
    for (auto& [index, block] : blocks_) {
        const auto type = text_of(block->value, "type");
        if (type == "text" && text_of(block->value, "text").empty()) continue;
        if (type == "tool_use") {
            auto input = parse_json(block->input.empty() ? "{}" : block->input, kEventLimits);
            // Cut off by max_tokens in the middle of its input: nothing that could be run.
            if (!input || !input->is_object()) continue;
            if (!block->input.empty() || !member(block->value, "input").is_object())
                block->value["input"] = std::move(*input);
        }
        content.push_back(std::move(block->value));
    }
    return {std::make_shared<const Json>(std::move(content)), stop_reason_, usage_};
}

}  // namespace volary::builtin
