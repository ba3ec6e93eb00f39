// SPDX-License-Identifier: Apache-2.0
#include "base/event.hpp"

#include "base/json_text.hpp"

#include <charconv>

namespace volary {
namespace {

void append_integer(std::string& out, std::int64_t value) {
    char digits[24];
    const auto result = std::to_chars(std::begin(digits), std::end(digits), value);
    out.append(digits, result.ptr);
}

}  // namespace

EventView view_of(const Event& event) {
    return {event.session.str(), event.seq,       event.at,  event.kind,
            event.actor,         event.run.str(), event.body};
}

void append_event_json(std::string& out, const Event& event) {
    append_event_json(out, view_of(event));
}

void append_event_json(std::string& out, const EventView& event) {
    out.append(R"({"session":)");
    append_json_quoted(out, event.session);
    out.append(R"(,"seq":)");
    append_integer(out, event.seq);
    out.append(R"(,"at":)");
    append_integer(out, event.at);
    out.append(R"(,"kind":)");
    append_json_quoted(out, event.kind);
    out.append(R"(,"actor":)");
    append_json_quoted(out, event.actor);
    out.append(R"(,"run":)");
    if (event.run.empty())
        out.append("null");
    else
        append_json_quoted(out, event.run);
    out.append(R"(,"body":)").append(event.body).push_back('}');
}

std::string event_json(const Event& event) {
    std::string out;
    out.reserve(event.body.size() + 200);
    append_event_json(out, event);
    return out;
}

}  // namespace volary
