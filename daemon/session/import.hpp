// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/event.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace volary::session {

/// A whole session as a file: one JSON value a line (docs/durability.md).
struct SessionExport {
    SessionId session;
    std::string project;
    std::vector<Event> log;
    std::string head;  ///< hex of the last event's hash
};

/// The first line of an export, without its line feed.
std::string export_header(
    const SessionId& session, const std::string& project, std::int64_t events,
    const std::string& head
);

/// Reads an export and follows its hashes. Throws Error{invalid} naming the line: not JSON, not of
/// this format, an event that was changed, is missing, or is of another session, or an end that is
/// not the one that the first line tells of.
SessionExport parse_export(std::string_view text);

}  // namespace volary::session
