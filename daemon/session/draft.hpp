// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/session/decide.hpp"
#include "daemon/session/fold.hpp"

#include <string_view>

namespace volary::session {

/// A decision in the making: each emitted event is folded at once, so that what is decided next
/// sees it. Private to the decisions of this folder.
struct Draft {
    State& state;
    const Context& context;
    Decision decision;

    /// Emits as the context's actor, within the current run.
    const Event& emit(std::string_view kind, const Json& body);
    const Event& emit_for(std::string_view kind, const Json& body, const RunId& run);
    const Event& emit_as(
        std::string_view actor, std::string_view kind, const Json& body, const RunId& run
    );
    template <class E>
    void effect(E effect) {
        decision.effects.emplace_back(std::move(effect));
    }
};

// ---- decide_run.cpp: the life of a run --------------------------------------------------

void decide_post(Draft& draft, const PostMessage& command);
void decide_cancel(Draft& draft, const CancelQueued& command);
void decide_hold(Draft& draft, const Hold& command);
void decide_resume(Draft& draft, const Resume& command);
void decide_stop(Draft& draft, const Stop& command);
void decide_edit(Draft& draft, const EditPlan& command);
void decide_recover(Draft& draft, const Recover& command);
/// Starts the oldest queued message if nothing runs.
void start_next(Draft& draft);
/// Ends the run when nothing of it is left; says `held` when a hold has taken effect.
void settle(Draft& draft);

// ---- decide_grant.cpp: what the operator allows and settles ------------------------------

void decide_grant(Draft& draft, const Grant& command);
void decide_changes(Draft& draft, const SettleChanges& command);
void decide_report(Draft& draft, const GrantFailed& command);

// ---- decide_agent.cpp: what agents report -----------------------------------------------

void decide_report(Draft& draft, const CageStarted& command);
void decide_report(Draft& draft, const CageExited& command);
void decide_report(Draft& draft, const CageRecovered& command);
void decide_report(Draft& draft, const PassStream& command);
void decide_report(Draft& draft, const CageDenied& command);
void decide_report(Draft& draft, const CageLimit& command);
void decide_report(Draft& draft, const Output& command);
void decide_report(Draft& draft, const AgentSession& command);
void decide_report(Draft& draft, const RequestStep& command);
void decide_report(Draft& draft, const FinishStep& command);
void decide_report(Draft& draft, const FinishItem& command);
void decide_report(Draft& draft, const UpdatePlan& command);
void decide_report(Draft& draft, const InvokeSubagent& command);
void decide_report(Draft& draft, const FinishInvocation& command);
/// What the primary must still be told, taken and recorded as `agent.note`.
std::vector<std::string> take_notes(Draft& draft, const Invocation& primary);
/// What starts an invocation that is in the state.
StartAgent start_of(const Draft& draft, const Invocation& inv, const std::string& input);
void start_invocation(Draft& draft, const Json& started, const std::string& input);
/// The live invocation with that id, or Error{conflict}.
const Invocation& require_live(const Draft& draft, const InvocationId& invocation);

// ---- decide_signal.cpp: interconnect ----------------------------------------------------

void decide_signal(Draft& draft, const EmitSignal& command);
/// Starts what waits for its turn, as far as holds and limits allow.
void start_waiting(Draft& draft);

}  // namespace volary::session
