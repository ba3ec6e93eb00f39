// SPDX-License-Identifier: Apache-2.0
#include "base/clock.hpp"
#include "daemon/cli/verbs.hpp"

#include <functional>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

std::string text(const Json& body, const char* key) { return string_or(body, key); }

/// Control characters of foreign text must not reach the terminal.
std::string safe(const std::string& raw) {
    std::string out;
    for (const char c : raw) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n')
            out += "\n             ";
        else if (byte >= 0x20 && byte != 0x7F)
            out.push_back(c);
    }
    while (out.ends_with(' ') || out.ends_with('\n')) out.pop_back();
    return out;
}

std::string plan_lines(const Json& body) {
    std::string out = "plan";
    for (const auto& entry : body.value("entries", Json::array())) {
        const auto status = text(entry, "status");
        const auto mark = status == "completed" ? "x" : status == "in_progress" ? ">" : " ";
        out += fmt::format("\n             [{}] {}", mark, safe(text(entry, "text")));
    }
    return out;
}

using Words = std::function<std::string(const Json& body)>;

const std::unordered_map<std::string, Words>& vocabulary() {
    static const std::unordered_map<std::string, Words> words = {
        {"session.created", [](const Json& b) { return "session of " + text(b, "project"); }},
        {"message.user", [](const Json& b) { return "you: " + safe(text(b, "text")); }},
        {"message.agent", [](const Json& b) { return "says: " + safe(text(b, "text")); }},
        {"message.cancelled", [](const Json&) { return "message cancelled"; }},
        {"run.started", [](const Json&) { return "run started"; }},
        {"run.holding", [](const Json&) { return "holding: no new step begins"; }},
        {"run.held", [](const Json&) { return "held"; }},
        {"run.resumed", [](const Json&) { return "resumed"; }},
        {"run.stopping", [](const Json&) { return "stopping"; }},
        {"run.finished",
         [](const Json& b) {
             const auto reason = text(b, "reason");
             return "run " + text(b, "outcome") + (reason.empty() ? "" : ": " + safe(reason));
         }},
        {"invocation.started",
         [](const Json& b) { return fmt::format("{} starts", text(b, "agent")); }},
        {"invocation.finished",
         [](const Json& b) {
             const auto reason = text(b, "reason");
             return "invocation " + text(b, "outcome") +
                    (reason.empty() ? "" : ": " + safe(reason));
         }},
        {"cage.denied",
         [](const Json& b) { return fmt::format("denied: {}", safe(text(b, "what"))); }},
        {"cage.limit",
         [](const Json& b) {
             return fmt::format("limit {}: {}", text(b, "limit"), safe(text(b, "detail")));
         }},
        {"cage.output",
         [](const Json& b) {
             return fmt::format("{}: {}", text(b, "stream"), safe(text(b, "text")));
         }},
        {"step.started", [](const Json& b) { return "step: " + safe(text(b, "title")); }},
        {"step.held", [](const Json& b) { return "waits: " + safe(text(b, "title")); }},
        {"plan.updated", plan_lines},
        {"agent.note", [](const Json& b) { return "told: " + safe(text(b, "text")); }},
        {"signal.emitted",
         [](const Json& b) {
             return fmt::format(
                 "signal {} {}", text(b, "signal"), dump_json(b.value("data", Json::object()))
             );
         }},
        {"interconnect.fired",
         [](const Json& b) { return fmt::format("rule fires: {}", text(b, "invoke")); }},
        {"interconnect.limited",
         [](const Json& b) {
             return fmt::format("rule {}: {}", text(b, "action"), text(b, "limit"));
         }},
    };
    return words;
}

bool is_quiet(const std::string& kind) {
    return kind == "cage.started" || kind == "cage.exited" || kind == "step.finished" ||
           kind == "step.released" || kind == "agent.session" || kind == "thought.agent";
}

}  // namespace

std::string event_line(const Json& event) {
    const auto kind = text(event, "kind");
    if (is_quiet(kind)) return {};
    const auto known = vocabulary().find(kind);
    const auto body = event.value("body", Json::object());
    // An unknown kind is of a newer daemon: shown as such, never dropped.
    const auto words = known == vocabulary().end() ? kind : known->second(body);
    const auto time = format_rfc3339(event.value("at", std::int64_t{0})).substr(11, 8);
    const auto actor = text(event, "actor");
    const auto who = actor.starts_with("agent:") ? actor.substr(6) + " " : std::string();
    return fmt::format("{:>4} {} {}{}", event.value("seq", std::int64_t{0}), time, who, words);
}

}  // namespace volary::cli
