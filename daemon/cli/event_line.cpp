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

/// `raw` with its lines below each other, without the empty ones at its end.
std::string lines(const std::string& raw) {
    std::string out;
    for (const char c : raw) {
        if (c == '\n')
            out += "\n             ";
        else
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
        out += fmt::format("\n             [{}] {}", mark, lines(text(entry, "text")));
    }
    return out;
}

using Vocabulary = std::unordered_map<std::string, std::function<std::string(const Json& body)>>;

const Vocabulary& cage_vocabulary() {
    static const Vocabulary words = {
        {"cage.denied",
         [](const Json& b) {
             return fmt::format("denied: {} {}", text(b, "layer"), lines(text(b, "what")));
         }},
        {"cage.recovered",
         [](const Json& b) {
             return fmt::format(
                 "daemon restarted: {} ({})", text(b, "verdict"), lines(text(b, "detail"))
             );
         }},
        {"cage.granted",
         [](const Json& b) {
             return fmt::format(
                 "granted to {}: {} ({})", text(b, "agent"), text(b, "rule"), text(b, "scope")
             );
         }},
        {"cage.grant_failed",
         [](const Json& b) { return "grant not applied: " + lines(text(b, "reason")); }},
        {"cage.changes_kept",
         [](const Json& b) { return fmt::format("changes of {} kept", text(b, "agent")); }},
        {"cage.changes_dropped",
         [](const Json& b) { return fmt::format("changes of {} dropped", text(b, "agent")); }},
        {"cage.limit",
         [](const Json& b) {
             return fmt::format("limit {}: {}", text(b, "limit"), lines(text(b, "detail")));
         }},
        {"cage.output",
         [](const Json& b) {
             return fmt::format("{}: {}", text(b, "stream"), lines(text(b, "text")));
         }},
    };
    return words;
}

const Vocabulary& vocabulary() {
    static const Vocabulary words = {
        {"session.created", [](const Json& b) { return "session of " + text(b, "project"); }},
        {"message.user", [](const Json& b) { return "you: " + lines(text(b, "text")); }},
        {"message.agent", [](const Json& b) { return "says: " + lines(text(b, "text")); }},
        {"message.cancelled", [](const Json&) { return "message cancelled"; }},
        {"run.started", [](const Json&) { return "run started"; }},
        {"run.holding", [](const Json&) { return "holding: no new step begins"; }},
        {"run.held", [](const Json&) { return "held"; }},
        {"run.resumed", [](const Json&) { return "resumed"; }},
        {"run.stopping", [](const Json&) { return "stopping"; }},
        {"run.finished",
         [](const Json& b) {
             const auto reason = text(b, "reason");
             return "run " + text(b, "outcome") + (reason.empty() ? "" : ": " + lines(reason));
         }},
        {"invocation.started",
         [](const Json& b) { return fmt::format("{} starts", text(b, "agent")); }},
        {"invocation.finished",
         [](const Json& b) {
             const auto reason = text(b, "reason");
             return "invocation " + text(b, "outcome") +
                    (reason.empty() ? "" : ": " + lines(reason));
         }},
        {"step.started", [](const Json& b) { return "step: " + lines(text(b, "title")); }},
        {"step.held", [](const Json& b) { return "waits: " + lines(text(b, "title")); }},
        {"plan.updated", plan_lines},
        {"agent.note", [](const Json& b) { return "told: " + lines(text(b, "text")); }},
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

// Control characters of foreign text must not reach the terminal: neither those of ASCII nor
// U+0080 to U+009F, which some terminals obey (ECMA-48, 5.3).
std::string printable(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
        if (byte == 0xC2 && next >= 0x80 && next < 0xA0)
            ++i;
        else if (text[i] == '\n' || (byte >= 0x20 && byte != 0x7F))
            out.push_back(text[i]);
    }
    return out;
}

std::string event_line(const Json& event) {
    const auto kind = text(event, "kind");
    if (is_quiet(kind)) return {};
    const auto& words_of_kind = kind.starts_with("cage.") ? cage_vocabulary() : vocabulary();
    const auto known = words_of_kind.find(kind);
    auto body = event.value("body", Json::object());
    if (!body.is_object()) body = Json::object();
    // An unknown kind is of a newer daemon: shown as such, never dropped.
    const auto words = known == words_of_kind.end() ? kind : known->second(body);
    const auto time = format_rfc3339(event.value("at", std::int64_t{0})).substr(11, 8);
    const auto actor = text(event, "actor");
    const auto who = actor.starts_with("agent:") ? actor.substr(6) + " " : std::string();
    const auto seq = event.value("seq", std::int64_t{0});
    return printable(fmt::format("{:>4} {} {}{}", seq, time, who, words));
}

}  // namespace volary::cli
