// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/script.hpp"

#include "base/error.hpp"
#include "daemon/model/anthropic.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <initializer_list>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::model {
namespace {

constexpr std::int64_t kMaxDelayMs = 60'000;  // a reply that waits longer is a mistake
constexpr std::size_t kMaxReplies = 10'000;

/// Collects every problem of one file with the path of the key that has it.
class Checker {
public:
    explicit Checker(std::string file) : file_(std::move(file)) {}

    void problem(const std::string& path, std::string_view what) {
        problems_.push_back(fmt::format("{}: {}: {}", file_, path.empty() ? "script" : path, what));
    }

    /// False (and a problem) when `value` is no object; unknown keys are problems.
    bool object(
        const Json& value, const std::string& path, std::initializer_list<std::string_view> known
    ) {
        if (!value.is_object()) {
            problem(path, "must be an object");
            return false;
        }
        for (const auto& [key, member] : value.items()) {
            if (std::find(known.begin(), known.end(), key) == known.end())
                problem(
                    join(path, key),
                    fmt::format("unknown key; known are {}", fmt::join(known, ", "))
                );
        }
        return true;
    }

    std::string string(const Json& object, std::string_view key, const std::string& path) {
        const auto found = object.find(key);
        if (found != object.end() && found->is_string()) return found->get<std::string>();
        problem(join(path, key), "required string");
        return {};
    }

    std::optional<std::int64_t> integer(
        const Json& object, std::string_view key, const std::string& path, std::int64_t max
    ) {
        const auto found = object.find(key);
        if (found == object.end()) return std::nullopt;
        if (found->is_number_integer()) {
            const auto number = found->get<std::int64_t>();
            if (number >= 0 && number <= max) return number;
        }
        problem(join(path, key), fmt::format("must be an integer from 0 to {}", max));
        return std::nullopt;
    }

    /// A string or a list of strings.
    std::vector<std::string> strings(
        const Json& object, std::string_view key, const std::string& path
    ) {
        const auto found = object.find(key);
        if (found == object.end()) return {};
        if (found->is_string()) return {found->get<std::string>()};
        std::vector<std::string> out;
        bool good = found->is_array();
        for (const auto& entry : *found) {
            if (!good || !entry.is_string()) {
                good = false;
                break;
            }
            out.push_back(entry.get<std::string>());
        }
        if (!good) problem(join(path, key), "must be a string or a list of strings");
        return out;
    }

    static std::string join(const std::string& path, std::string_view key) {
        return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
    }

    void finish() const {
        if (problems_.empty()) return;
        Error error(Errc::invalid, problems_.front());
        throw error.with_details(problems_);
    }

private:
    std::string file_;
    std::vector<std::string> problems_;
};

bool is_pointer(const Json& value) {
    if (!value.is_string()) return false;
    const auto text = value.get<std::string>();
    return text.empty() || text.front() == '/';
}

/// {"$last": "/p"} or {"$last_json": "/p"} or {"$last_json": ["/p", "/q"]}.
void check_templates(const Json& value, const std::string& path, Checker& check) {
    if (value.is_array()) {
        for (std::size_t i = 0; i < value.size(); ++i)
            check_templates(value[i], fmt::format("{}[{}]", path, i), check);
        return;
    }
    if (!value.is_object()) return;
    for (const auto& [key, member] : value.items()) {
        const auto inner = Checker::join(path, key);
        if (key.empty() || key.front() != '$') {
            check_templates(member, inner, check);
            continue;
        }
        if (value.size() != 1) check.problem(inner, "a template stands alone in its object");
        if (key == "$last") {
            if (!is_pointer(member)) check.problem(inner, "must be a JSON pointer");
        } else if (key == "$last_json") {
            const bool two = member.is_array() && member.size() == 2 && is_pointer(member[0]) &&
                             is_pointer(member[1]);
            if (!two && !is_pointer(member))
                check.problem(inner, "must be a JSON pointer or a list of two");
        } else {
            check.problem(inner, "unknown template; known are $last, $last_json");
        }
    }
}

When parse_when(const Json& value, const std::string& path, Checker& check) {
    When when;
    if (!check.object(
            value, path,
            {"turn", "last_tool", "contains", "not_contains", "last_contains", "system_contains"}
        ))
        return when;
    constexpr std::int64_t kMaxTurn = 1'000'000;
    if (const auto turn = check.integer(value, "turn", path, kMaxTurn))
        when.turn = static_cast<int>(*turn);
    if (value.contains("last_tool")) when.last_tool = check.string(value, "last_tool", path);
    when.contains = check.strings(value, "contains", path);
    when.not_contains = check.strings(value, "not_contains", path);
    when.last_contains = check.strings(value, "last_contains", path);
    when.system_contains = check.strings(value, "system_contains", path);
    return when;
}

std::optional<Block> parse_block(const Json& value, const std::string& path, Checker& check) {
    const auto type = value.is_object() ? string_or(value, "type") : std::string();
    Block block;
    if (type == "text") {
        check.object(value, path, {"type", "text"});
        const auto text = value.find("text");
        if (text == value.end() || (!text->is_string() && !text->is_object())) {
            check.problem(Checker::join(path, "text"), "required string (or template)");
            return std::nullopt;
        }
        check_templates(*text, Checker::join(path, "text"), check);
        block.value = std::make_shared<const Json>(*text);
        return block;
    }
    if (type != "tool_use") {
        check.problem(Checker::join(path, "type"), "must be \"text\" or \"tool_use\"");
        return std::nullopt;
    }
    block.type = Block::Type::tool_use;
    check.object(value, path, {"type", "name", "input"});
    block.name = check.string(value, "name", path);
    const auto input = value.find("input");
    if (input == value.end() || !input->is_object()) {
        check.problem(Checker::join(path, "input"), "required object");
        return std::nullopt;
    }
    check_templates(*input, Checker::join(path, "input"), check);
    block.value = std::make_shared<const Json>(*input);
    return block;
}

void parse_outcome(const Json& value, const std::string& path, Checker& check, Reply& reply) {
    const auto content = value.find("content");
    const auto error = value.find("error");
    if ((content == value.end()) == (error == value.end()))
        return check.problem(path, "needs either content or error");
    if (error != value.end()) {
        const auto at = Checker::join(path, "error");
        if (!check.object(*error, at, {"type", "message"})) return;
        reply.error =
            ScriptedError{check.string(*error, "type", at), check.string(*error, "message", at)};
        if (!anthropic::error_status(reply.error->type))
            check.problem(Checker::join(at, "type"), "is no error type of the dialect");
        return;
    }
    const auto at = Checker::join(path, "content");
    if (!content->is_array() || content->empty())
        return check.problem(at, "must be a list with at least one block");
    for (std::size_t i = 0; i < content->size(); ++i)
        if (auto block = parse_block((*content)[i], fmt::format("{}[{}]", at, i), check))
            reply.content.push_back(std::move(*block));
}

Reply parse_reply(const Json& value, const std::string& path, Checker& check) {
    Reply reply;
    if (!check.object(
            value, path,
            {"description", "when", "delay_ms", "first_delay_ms", "stop_reason", "content", "error"}
        ))
        return reply;
    if (value.contains("description")) (void)check.string(value, "description", path);
    if (value.contains("when"))
        reply.when = parse_when(value["when"], Checker::join(path, "when"), check);
    if (const auto delay = check.integer(value, "delay_ms", path, kMaxDelayMs))
        reply.delay = std::chrono::milliseconds(*delay);
    if (const auto delay = check.integer(value, "first_delay_ms", path, kMaxDelayMs))
        reply.first_delay = std::chrono::milliseconds(*delay);
    if (value.contains("stop_reason")) {
        constexpr std::array<std::string_view, 4> kReasons{
            "end_turn", "tool_use", "max_tokens", "refusal"
        };
        reply.stop_reason = check.string(value, "stop_reason", path);
        if (std::find(kReasons.begin(), kReasons.end(), reply.stop_reason) == kReasons.end())
            check.problem(
                Checker::join(path, "stop_reason"),
                fmt::format("must be one of {}", fmt::join(kReasons, ", "))
            );
    }
    parse_outcome(value, path, check, reply);
    return reply;
}

}  // namespace

Script parse_script(std::string_view text, const std::filesystem::path& file) {
    const auto doc = parse_json(text, {kMaxScriptBytes, 64});
    if (!doc) throw Error(Errc::invalid, fmt::format("{}: {}", file.string(), doc.error()));
    Script script;
    script.name = file.stem().string();
    Checker check(file.string());
    if (check.object(*doc, "", {"version", "description", "replies"})) {
        const auto version = doc->find("version");
        if (version == doc->end() || *version != 1) check.problem("version", "must be 1");
        if (doc->contains("description")) (void)check.string(*doc, "description", "");
        const auto replies = doc->find("replies");
        if (replies == doc->end() || !replies->is_array() || replies->size() > kMaxReplies) {
            check.problem("replies", fmt::format("must be a list of at most {}", kMaxReplies));
        } else {
            for (std::size_t i = 0; i < replies->size(); ++i)
                script.replies.push_back(
                    parse_reply((*replies)[i], fmt::format("replies[{}]", i), check)
                );
        }
    }
    check.finish();
    return script;
}

Script load_script(const std::filesystem::path& file) {
    std::error_code failure;
    const auto size = std::filesystem::file_size(file, failure);
    if (failure)
        throw Error(
            Errc::not_found,
            fmt::format("replay script \"{}\": {}", file.string(), failure.message())
        );
    if (size > kMaxScriptBytes)
        throw Error(
            Errc::too_large, fmt::format(
                                 "replay script \"{}\": {} bytes, at most {} are taken",
                                 file.string(), size, kMaxScriptBytes
                             )
        );
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) throw Error(Errc::io, fmt::format("read replay script \"{}\"", file.string()));
    return parse_script(text.str(), file);
}

}  // namespace volary::model
