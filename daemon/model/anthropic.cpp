// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/anthropic.hpp"

#include "base/bytes.hpp"

#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::model::anthropic {
namespace {

// What real streams carry: a few words of text, a short fragment of tool input.
constexpr std::size_t kTextChunk = 16;
constexpr std::size_t kInputChunk = 24;
constexpr std::size_t kBytesPerToken = 4;

constexpr std::array<std::pair<std::string_view, int>, 9> kErrors{{
    {"invalid_request_error", 400},
    {"authentication_error", 401},
    {"billing_error", 402},
    {"permission_error", 403},
    {"not_found_error", 404},
    {"request_too_large", 413},
    {"rate_limit_error", 429},
    {"api_error", 500},
    {"overloaded_error", 529},
}};

/// "event: NAME\ndata: JSON\n\n"; the name is repeated as the document's type.
std::string event(std::string_view name, Json data) {
    data["type"] = name;
    return fmt::format("event: {}\ndata: {}\n\n", name, dump_json(data));
}

Json message_head(const Answer& answer) {
    return {
        {"id", answer.id},
        {"type", "message"},
        {"role", "assistant"},
        {"model", answer.model},
        {"content", Json::array()},
        {"stop_reason", nullptr},
        {"stop_sequence", nullptr},
        {"usage", {{"input_tokens", answer.input_tokens}, {"output_tokens", 1}}},
    };
}

class FrameList {
public:
    void add(std::string bytes) { frames_.push_back({std::move(bytes), false, tokens()}); }

    void block(std::size_t index, const Json& block) {
        const bool text = block["type"] == "text";
        Json start = block;
        if (text)
            start["text"] = "";
        else
            start["input"] = Json::object();
        add(event("content_block_start", {{"index", index}, {"content_block", start}}));
        const auto whole = text ? block["text"].get<std::string>() : dump_json(block["input"]);
        for (const auto piece : split_text(whole, text ? kTextChunk : kInputChunk)) {
            Json delta = text ? Json{{"type", "text_delta"}, {"text", piece}}
                              : Json{{"type", "input_json_delta"}, {"partial_json", piece}};
            bytes_ += piece.size();
            frames_.push_back(
                {event("content_block_delta", {{"index", index}, {"delta", std::move(delta)}}),
                 true, tokens()}
            );
        }
        add(event("content_block_stop", {{"index", index}}));
    }

    std::vector<Frame> take() { return std::move(frames_); }

private:
    std::int64_t tokens() const { return bytes_ == 0 ? 0 : estimate_tokens(bytes_); }

    std::vector<Frame> frames_;
    std::size_t bytes_ = 0;
};

}  // namespace

std::vector<Frame> stream_frames(const Answer& answer) {
    FrameList frames;
    frames.add(event("message_start", {{"message", message_head(answer)}}));
    frames.add(event("ping", Json::object()));
    for (std::size_t i = 0; i < answer.content->size(); ++i) frames.block(i, (*answer.content)[i]);
    const Json delta = {{"stop_reason", answer.stop_reason}, {"stop_sequence", nullptr}};
    frames.add(event(
        "message_delta", {{"delta", delta}, {"usage", {{"output_tokens", answer.output_tokens}}}}
    ));
    frames.add(event("message_stop", Json::object()));
    return frames.take();
}

std::string message_json(const Answer& answer) {
    auto message = message_head(answer);
    message["content"] = *answer.content;
    message["stop_reason"] = answer.stop_reason;
    message["usage"]["output_tokens"] = answer.output_tokens;
    return dump_json(message);
}

std::string error_json(std::string_view type, std::string_view message) {
    return dump_json(Json{{"type", "error"}, {"error", {{"type", type}, {"message", message}}}});
}

std::optional<int> error_status(std::string_view type) {
    for (const auto& [name, status] : kErrors)
        if (name == type) return status;
    return std::nullopt;
}

std::string_view error_type(int status) {
    for (const auto& [name, known] : kErrors)
        if (known == status) return name;
    constexpr int kServerErrors = 500;
    return status >= kServerErrors ? "api_error" : "invalid_request_error";
}

std::int64_t estimate_tokens(std::size_t bytes) {
    return static_cast<std::int64_t>(bytes / kBytesPerToken + 1);
}

std::vector<std::string_view> split_text(std::string_view text, std::size_t size) {
    std::vector<std::string_view> pieces;
    while (!text.empty()) {
        auto piece = utf8_prefix(text, size);
        // A single character longer than `size` cannot be: the longest has four bytes.
        if (piece.empty()) piece = text;
        if (piece.size() < text.size()) {
            const auto space = piece.find_last_of(' ');
            if (space != std::string_view::npos && space > 0) piece = piece.substr(0, space);
        }
        pieces.push_back(piece);
        text.remove_prefix(piece.size());
    }
    return pieces;
}

}  // namespace volary::model::anthropic
