// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/replay.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::model {
namespace {

constexpr JsonLimits kResultLimits{std::size_t{32} << 20U, 64};  // what a request may hold

/// Text of a `content` that is a string or a list of blocks with text.
std::string content_text(const Json& content) {
    if (content.is_string()) return content.get<std::string>();
    std::string text;
    if (!content.is_array()) return text;
    for (const auto& block : content) {
        if (!block.is_object() || string_or(block, "type") != "text") continue;
        if (!text.empty()) text += '\n';
        text += string_or(block, "text");
    }
    return text;
}

class Reader {
public:
    Transcript read(const Json& request) {
        if (!request.is_object()) throw Error(Errc::invalid, "the body is no JSON object");
        const auto messages = request.find("messages");
        if (messages == request.end() || !messages->is_array() || messages->empty())
            throw Error(Errc::invalid, "messages: required list with at least one message");
        if (const auto system = request.find("system"); system != request.end())
            transcript_.system = content_text(*system);
        for (std::size_t i = 0; i < messages->size(); ++i) message((*messages)[i], i);
        return std::move(transcript_);
    }

private:
    void message(const Json& message, std::size_t index) {
        const auto role = message.is_object() ? string_or(message, "role") : std::string();
        if (role != "user" && role != "assistant")
            throw Error(
                Errc::invalid,
                fmt::format("messages.{}.role: must be \"user\" or \"assistant\"", index)
            );
        const auto content = message.find("content");
        if (content == message.end() || (!content->is_string() && !content->is_array()))
            throw Error(
                Errc::invalid, fmt::format("messages.{}.content: required text or list", index)
            );
        transcript_.last_message.clear();
        if (role == "assistant") ++transcript_.turn;
        if (content->is_string()) return text(role, content->get<std::string>());
        for (const auto& block : *content) {
            if (!block.is_object()) continue;
            const auto type = string_or(block, "type");
            if (type == "text") text(role, string_or(block, "text"));
            if (type == "tool_use") tool_use(block);
            if (type == "tool_result") tool_result(block);
        }
    }

    void text(const std::string& role, const std::string& text) {
        add(text);
        if (role != "user" || text.starts_with(kOperatorNote)) return;
        transcript_.turn = 0;
        transcript_.last_tool.clear();
        transcript_.last_result.clear();
    }

    void tool_use(const Json& block) {
        const auto name = string_or(block, "name");
        tools_[string_or(block, "id")] = name;
        const auto input = block.find("input");
        add(input == block.end() ? name : name + " " + dump_json(*input));
    }

    void tool_result(const Json& block) {
        const auto found = tools_.find(string_or(block, "tool_use_id"));
        transcript_.last_tool = found == tools_.end() ? std::string() : found->second;
        const auto content = block.find("content");
        transcript_.last_result = content == block.end() ? std::string() : content_text(*content);
        add(transcript_.last_result);
    }

    void add(const std::string& text) {
        for (auto* out : {&transcript_.all, &transcript_.last_message}) {
            out->append(text);
            out->push_back('\n');
        }
    }

    Transcript transcript_;
    std::map<std::string, std::string> tools_;
};

bool all_in(const std::vector<std::string>& needles, const std::string& text) {
    return std::all_of(needles.begin(), needles.end(), [&](const std::string& needle) {
        return text.find(needle) != std::string::npos;
    });
}

bool none_in(const std::vector<std::string>& needles, const std::string& text) {
    return std::none_of(needles.begin(), needles.end(), [&](const std::string& needle) {
        return text.find(needle) != std::string::npos;
    });
}

/// Fills templates from one tool result.
class Filler {
public:
    explicit Filler(const Transcript& transcript) : transcript_(transcript) {}

    Json fill(const Json& value) {
        if (value.is_array()) {
            auto out = Json::array();
            for (const auto& entry : value) out.push_back(fill(entry));
            return out;
        }
        if (!value.is_object()) return value;
        if (const auto last = value.find("$last"); last != value.end())
            return at(result(), last->get<std::string>());
        if (const auto last = value.find("$last_json"); last != value.end()) return again(*last);
        auto out = Json::object();
        for (const auto& [key, member] : value.items()) out[key] = fill(member);
        return out;
    }

private:
    const Json& result() {
        if (!parsed_) {
            auto doc = parse_json(transcript_.last_result, kResultLimits);
            if (!doc)
                throw Error(
                    Errc::invalid, fmt::format(
                                       "the result of the last tool (\"{}\") is no JSON: {}",
                                       transcript_.last_tool, doc.error()
                                   )
                );
            parsed_ = std::make_unique<Json>(std::move(*doc));
        }
        return *parsed_;
    }

    Json again(const Json& pointers) {
        const bool two = pointers.is_array();
        const auto outer = (two ? pointers[0] : pointers).get<std::string>();
        const auto text = at(result(), outer);
        if (!text.is_string())
            throw Error(Errc::invalid, fmt::format("$last_json \"{}\": is no string", outer));
        auto doc = parse_json(text.get<std::string>(), kResultLimits);
        if (!doc)
            throw Error(Errc::invalid, fmt::format("$last_json \"{}\": {}", outer, doc.error()));
        return two ? at(*doc, pointers[1].get<std::string>()) : std::move(*doc);
    }

    static Json at(const Json& doc, const std::string& pointer) {
        try {
            return doc.at(Json::json_pointer(pointer));
        } catch (const Json::exception&) {
            throw Error(
                Errc::invalid, fmt::format("nothing at \"{}\" of the last tool result", pointer)
            );
        }
    }

    const Transcript& transcript_;
    std::unique_ptr<Json> parsed_;
};

std::string as_text(const Json& value) {
    return value.is_string() ? value.get<std::string>() : dump_json(value);
}

}  // namespace

Transcript read_transcript(const Json& request) { return Reader().read(request); }

bool matches(const When& when, const Transcript& transcript) {
    if (when.turn && *when.turn != transcript.turn) return false;
    if (when.last_tool && *when.last_tool != transcript.last_tool) return false;
    return all_in(when.contains, transcript.all) && none_in(when.not_contains, transcript.all) &&
           all_in(when.last_contains, transcript.last_message) &&
           all_in(when.system_contains, transcript.system);
}

const Reply& choose_reply(const Script& script, const Transcript& transcript) {
    for (const auto& reply : script.replies)
        if (matches(reply.when, transcript)) return reply;
    throw Error(
        Errc::invalid, fmt::format(
                           "replay script \"{}\": none of its {} replies matches (turn {}, last "
                           "tool \"{}\")",
                           script.name, script.replies.size(), transcript.turn, transcript.last_tool
                       )
    );
}

anthropic::Answer make_answer(
    const Script& script, const Reply& reply, const Transcript& transcript, std::string id,
    std::string model
) {
    anthropic::Answer answer;
    auto content = Json::array();
    Filler filler(transcript);
    bool tools = false;
    std::size_t bytes = 0;
    try {
        for (const auto& block : reply.content) {
            auto value = filler.fill(*block.value);
            if (block.type == Block::Type::text) {
                const auto text = as_text(value);
                bytes += text.size();
                content.push_back({{"type", "text"}, {"text", text}});
                continue;
            }
            tools = true;
            bytes += dump_json(value).size();
            // The answer's own id makes this one unique in a conversation.
            const auto call = fmt::format("toolu_{}_{}", id, content.size());
            content.push_back(
                {{"type", "tool_use"}, {"id", call}, {"name", block.name}, {"input", value}}
            );
        }
    } catch (Error& e) {
        e.add_context(fmt::format("replay script \"{}\"", script.name));
        throw;
    }
    answer.stop_reason = !reply.stop_reason.empty() ? reply.stop_reason
                         : tools                    ? "tool_use"
                                                    : "end_turn";
    answer.content = std::make_shared<const Json>(std::move(content));
    answer.id = std::move(id);
    answer.model = std::move(model);
    answer.input_tokens =
        anthropic::estimate_tokens(transcript.all.size() + transcript.system.size());
    answer.output_tokens = anthropic::estimate_tokens(bytes);
    return answer;
}

}  // namespace volary::model
