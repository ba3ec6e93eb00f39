// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/ids.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace volary {

/// One entry of a session's log (design.md, section 5). Kinds and bodies: docs/events.md.
struct Event {
    SessionId session;
    std::int64_t seq = 0;  ///< 1, 2, 3 ... without gaps within the session
    UnixMillis at = 0;
    std::string kind;   ///< e.g. "message.user"
    std::string actor;  ///< who did it: "operator:NAME", "agent:primary/scraper", "daemon"
    RunId run;          ///< empty when no run is concerned
    std::string body;   ///< text of one JSON object
    bool operator==(const Event&) const = default;
};

/// An Event whose texts belong to somebody else, e.g. to a row that is being read.
struct EventView {
    std::string_view session;
    std::int64_t seq = 0;
    UnixMillis at = 0;
    std::string_view kind;
    std::string_view actor;
    std::string_view run;
    std::string_view body;
};

EventView view_of(const Event& event);

/// The event as the API sends it:
/// {"session","seq","at","kind","actor","run" (null when empty),"body"}.
std::string event_json(const Event& event);

/// Appends event_json(event) to `out`.
void append_event_json(std::string& out, const Event& event);
void append_event_json(std::string& out, const EventView& event);

}  // namespace volary
