// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "base/clock.hpp"
#include "daemon/session/commands.hpp"
#include "dsl/project.hpp"

#include <string>
#include <vector>

namespace volary::session {

/// What a decision may look at besides the state.
struct Context {
    const dsl::Project& project;
    const Clock& clock;
    std::string actor;  ///< written into each event of the decision
    SessionId session;  ///< for the first command of a new session
    const CageCeiling& ceiling;
};

/// What follows from one command: events that are already folded into the state that was given,
/// effects to carry out once the events are durable, and the answer.
struct Decision {
    std::vector<Event> events;
    std::vector<Effect> effects;
    Answer answer;
};

/// Decides `command` on `state` and moves `state` on by the resulting events. Ids are made here,
/// everything else is a pure function of its arguments.
/// Throws Error (conflict, invalid, not_found, denied, busy) when the command is refused;
/// `state` is then unchanged.
Decision decide(State& state, const Command& command, const Context& context);

/// Throws what decide() would throw for that grant: for what is asked before anything is changed.
void check_grant(
    const State& state, const dsl::Project& project, const CageCeiling& ceiling, const Grant& grant
);

}  // namespace volary::session
