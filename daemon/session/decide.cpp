// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/decide.hpp"

#include "daemon/session/draft.hpp"

#include <utility>

namespace volary::session {
namespace {

struct Dispatch {
    Draft& draft;

    void operator()(const PostMessage& c) const { decide_post(draft, c); }
    void operator()(const CancelQueued& c) const { decide_cancel(draft, c); }
    void operator()(const Hold& c) const { decide_hold(draft, c); }
    void operator()(const Resume& c) const { decide_resume(draft, c); }
    void operator()(const Stop& c) const { decide_stop(draft, c); }
    void operator()(const EditPlan& c) const { decide_edit(draft, c); }
    void operator()(const Grant& c) const { decide_grant(draft, c); }
    void operator()(const SettleChanges& c) const { decide_changes(draft, c); }
    void operator()(const EmitSignal& c) const { decide_signal(draft, c); }
    void operator()(const Recover& c) const { decide_recover(draft, c); }
    template <class Report>
    void operator()(const Report& c) const {
        decide_report(draft, c);
    }
};

}  // namespace

const Event& Draft::emit(std::string_view kind, const Json& body) {
    return emit_for(kind, body, state.run ? state.run->id : RunId());
}

const Event& Draft::emit_for(std::string_view kind, const Json& body, const RunId& run) {
    return emit_as(context.actor, kind, body, run);
}

const Event& Draft::emit_as(
    std::string_view actor, std::string_view kind, const Json& body, const RunId& run
) {
    Event event;
    event.session = context.session;
    event.seq = state.last_seq + 1;
    event.at = context.clock.now_ms();
    event.kind = kind;
    event.actor = actor;
    event.run = run;
    event.body = dump_json(body);
    apply(state, event);
    decision.answer.seq = event.seq;
    return decision.events.emplace_back(std::move(event));
}

Decision decide(State& state, const Command& command, const Context& context) {
    Draft draft{state, context, {}};
    draft.decision.answer.session = context.session;
    draft.decision.answer.seq = state.last_seq;
    std::visit(Dispatch{draft}, command);
    return std::move(draft.decision);
}

}  // namespace volary::session
