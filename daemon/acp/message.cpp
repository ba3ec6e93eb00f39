// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/message.hpp"

#include "base/json_text.hpp"
#include "daemon/acp/connection.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::acp {
namespace {

Message invalid(std::string id, int code, std::string problem) {
    Message message;
    message.kind = Message::Kind::invalid;
    message.id = std::move(id);
    message.code = code;
    message.problem = std::move(problem);
    return message;
}

Message parse_answer(Json& doc, std::string id) {
    Message message;
    message.id = std::move(id);
    if (const auto error = doc.find("error"); error != doc.end()) {
        message.kind = Message::Kind::error;
        message.code = rpc::kInternalError;
        if (!error->is_object()) return message;
        if (const auto code = error->find("code");
            code != error->end() && code->is_number_integer())
            message.code = code->get<int>();
        message.problem = string_or(*error, "message");
        return message;
    }
    message.kind = Message::Kind::result;
    message.body = std::make_shared<Json>(std::move(doc["result"]));
    return message;
}

Message parse_object(Json& doc) {
    if (string_or(doc, "jsonrpc") != "2.0") return {};
    std::string id;
    if (const auto found = doc.find("id"); found != doc.end()) {
        if (!found->is_string() && !found->is_number_integer() && !found->is_null())
            return invalid("null", rpc::kInvalidRequest, "id: must be a string or an integer");
        id = dump_json(*found);
    }
    const auto method = doc.find("method");
    if (method == doc.end()) {
        if (id.empty() || (!doc.contains("result") && !doc.contains("error")))
            return invalid(
                id.empty() ? "null" : id, rpc::kInvalidRequest, "neither a method nor an answer"
            );
        return parse_answer(doc, std::move(id));
    }
    if (!method->is_string())
        return invalid(id.empty() ? "null" : id, rpc::kInvalidRequest, "method: must be a string");
    Message message;
    message.kind = id.empty() ? Message::Kind::notification : Message::Kind::request;
    message.id = std::move(id);
    message.method = method->get<std::string>();
    const auto params = doc.find("params");
    message.body = std::make_shared<Json>(
        params == doc.end() || params->is_null() ? Json::object() : std::move(*params)
    );
    return message;
}

}  // namespace

void LineBuffer::feed(std::string_view bytes) {
    if (overflowed_) return;
    if (start_ > 0 && start_ >= bytes_.size() / 2) {
        bytes_.erase(0, start_);
        erased_ += start_;
        scanned_ -= start_;
        start_ = 0;
    }
    bytes_.append(bytes);
}

std::optional<std::string> LineBuffer::next() {
    while (!overflowed_) {
        const auto end = bytes_.find('\n', scanned_);
        const auto length = (end == std::string::npos ? bytes_.size() : end) - start_;
        if (length > limit_) {
            overflowed_ = true;
            bytes_ = {};
            break;
        }
        if (end == std::string::npos) {
            scanned_ = bytes_.size();
            break;
        }
        auto line = bytes_.substr(start_, length);
        start_ = scanned_ = end + 1;
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (!line.empty()) return line;
    }
    return std::nullopt;
}

Message parse_message(std::string_view line, JsonLimits limits) {
    const auto first = line.find_first_not_of(" \t");
    // A log line may well begin with a bracket; only a brace claims to be a message.
    if (first == std::string_view::npos || line[first] != '{') {
        const bool batch = first != std::string_view::npos && line[first] == '[' &&
                           parse_json(line, limits).has_value();
        if (batch) return invalid("null", rpc::kInvalidRequest, "batches are not taken");
        return {};
    }
    auto doc = parse_json(line, limits);
    if (!doc) return invalid("null", rpc::kParseError, doc.error());
    if (!doc->is_object()) return {};
    try {
        return parse_object(*doc);
    } catch (const Json::exception& e) {
        // A number beyond int, for one: well-formed JSON that is no JSON-RPC.
        return invalid("null", rpc::kInvalidRequest, e.what());
    }
}

std::string request_line(std::int64_t id, std::string_view method, const Json& params) {
    return fmt::format(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":{},\"params\":{}}}\n", id, json_quote(method),
        dump_json(params)
    );
}

std::string notification_line(std::string_view method, const Json& params) {
    return fmt::format(
        "{{\"jsonrpc\":\"2.0\",\"method\":{},\"params\":{}}}\n", json_quote(method),
        dump_json(params)
    );
}

std::string result_line(std::string_view id, const Json& result) {
    return fmt::format("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{}}}\n", id, dump_json(result));
}

std::string error_line(std::string_view id, int code, std::string_view message) {
    return fmt::format(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{{\"code\":{},\"message\":{}}}}}\n", id, code,
        json_quote(message)
    );
}

}  // namespace volary::acp
