// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"
#include "daemon/model/anthropic.hpp"
#include "daemon/model/script.hpp"

#include <memory>
#include <string>
#include <vector>

namespace volary::model {

/// What a script can ask about a request: the whole state of a replayed conversation, so that it
/// goes on after any restart. Pure.
struct Transcript {
    int turn = 0;             ///< assistant messages since the last plain text of the user
    std::string last_tool;    ///< tool whose result came last since then; empty: none
    std::string last_result;  ///< its text
    std::string last_message;
    std::string all;  ///< every text, tool input and tool result, one after the other
    std::string system;
};

/// Marks text that the operator, not the user, put into a user message (docs/agents.md).
constexpr std::string_view kOperatorNote = "<operator-note>";

/// `request` is the body of a Messages request. Throws Error{invalid} naming what is wrong with
/// its shape, as the provider would.
Transcript read_transcript(const Json& request);

bool matches(const When& when, const Transcript& transcript);

/// The first reply that matches. Throws Error{invalid} saying what was looked for.
const Reply& choose_reply(const Script& script, const Transcript& transcript);

/// The content with its templates filled from the last tool result and ids for tool calls.
/// Throws Error{invalid} naming the template that finds nothing.
anthropic::Answer make_answer(
    const Script& script, const Reply& reply, const Transcript& transcript, std::string id,
    std::string model
);

}  // namespace volary::model
