// SPDX-License-Identifier: Apache-2.0
#include "base/json.hpp"

#include "base/error.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary {
namespace {

/// Counts nesting before the real parse, so that a hostile depth costs no memory.
bool deeper_than(std::string_view text, int limit) {
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > limit) return true;
        } else if (c == '}' || c == ']') {
            --depth;
        }
    }
    return false;
}

}  // namespace

std::expected<Json, std::string> parse_json(std::string_view text, JsonLimits limits) {
    if (text.size() > limits.bytes)
        return std::unexpected(
            fmt::format("{} bytes of JSON, at most {} are taken", text.size(), limits.bytes)
        );
    if (deeper_than(text, limits.depth))
        return std::unexpected(fmt::format("JSON is nested deeper than {}", limits.depth));
    try {
        return Json::parse(text);
    } catch (const Json::exception& e) {
        // nlohmann says "[json.exception.parse_error.101] parse error at line 1, column 2: ...".
        const std::string_view what = e.what();
        const auto start = what.find("] ");
        return std::unexpected(
            std::string(start == std::string_view::npos ? what : what.substr(start + 2))
        );
    }
}

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object_.is_object()) problems_.push_back(where_ + ": must be a JSON object");
}

const Json* Fields::find(std::string_view key) {
    seen_.emplace_back(key);
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(std::string(key));
    return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const Json* Fields::require(std::string_view key, std::string_view type) {
    const auto* found = find(key);
    if (found == nullptr && object_.is_object()) problem(key, fmt::format("required {}", type));
    return found;
}

void Fields::problem(std::string_view key, std::string_view what) {
    problems_.push_back(fmt::format("{}.{}: {}", where_, key, what));
}

std::string Fields::string(std::string_view key) {
    const auto* found = require(key, "string");
    if (found == nullptr) return {};
    if (found->is_string()) return found->get<std::string>();
    problem(key, fmt::format("must be a string, not {}", found->type_name()));
    return {};
}

std::optional<std::string> Fields::optional_string(std::string_view key) {
    const auto* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (found->is_string()) return found->get<std::string>();
    problem(key, fmt::format("must be a string, not {}", found->type_name()));
    return std::nullopt;
}

std::int64_t Fields::integer(std::string_view key) {
    const auto* found = require(key, "integer");
    if (found == nullptr) return 0;
    if (found->is_number_integer()) return found->get<std::int64_t>();
    problem(key, fmt::format("must be an integer, not {}", found->type_name()));
    return 0;
}

std::optional<std::int64_t> Fields::optional_integer(std::string_view key) {
    const auto* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (found->is_number_integer()) return found->get<std::int64_t>();
    problem(key, fmt::format("must be an integer, not {}", found->type_name()));
    return std::nullopt;
}

std::optional<bool> Fields::optional_boolean(std::string_view key) {
    const auto* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (found->is_boolean()) return found->get<bool>();
    problem(key, fmt::format("must be true or false, not {}", found->type_name()));
    return std::nullopt;
}

const Json* Fields::value(std::string_view key) { return require(key, "member"); }

const Json* Fields::optional_value(std::string_view key) { return find(key); }

void Fields::done() {
    if (object_.is_object()) {
        for (const auto& [key, unused] : object_.items()) {
            if (std::find(seen_.begin(), seen_.end(), key) == seen_.end())
                problem(key, "unknown member");
        }
    }
    if (problems_.empty()) return;
    throw Error(Errc::invalid, problems_.front()).with_details(problems_);
}

std::string dump_json(const Json& doc) {
    return doc.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string string_or(const Json& object, std::string_view key, std::string fallback) {
    if (!object.is_object()) return fallback;
    const auto found = object.find(std::string(key));
    if (found == object.end() || !found->is_string()) return fallback;
    return found->get<std::string>();
}

}  // namespace volary
