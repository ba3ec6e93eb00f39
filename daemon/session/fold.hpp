// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/session/state.hpp"

#include <vector>

namespace volary::session {

/// Moves `state` on by one event of its log. Pure: the same log gives the same state, on this
/// daemon or the next. A kind that the state does not depend on moves only `last_seq`.
/// Throws Error{internal} when the event does not follow `state` or its body is not ours.
void apply(State& state, const Event& event);

/// The fold of a whole log from nothing.
State fold(const std::vector<Event>& log);

}  // namespace volary::session
