// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/fold.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

using Handler = void (*)(State&, const Event&, const Json&);

std::string text(const Json& body, const char* key) { return string_or(body, key); }

void created(State& state, const Event& event, const Json& body) {
    state.id = event.session;
    state.project = text(body, "project");
    state.title = text(body, "title");
    state.created_at = event.at;
}

void message_user(State& state, const Event& event, const Json& body) {
    state.queue.push_back({event.run, MessageId(text(body, "id")), text(body, "text")});
}

void message_cancelled(State& state, const Event& event, const Json&) {
    std::erase_if(state.queue, [&](const QueuedRun& queued) { return queued.run == event.run; });
}

void run_started(State& state, const Event& event, const Json&) {
    const auto is = [&](const QueuedRun& queued) { return queued.run == event.run; };
    const auto queued = std::find_if(state.queue.begin(), state.queue.end(), is);
    if (queued == state.queue.end()) throw Error(Errc::internal, "run.started of no message");
    state.run = Run{
        .id = queued->run, .message = queued->message, .text = queued->text, .started_at = event.at
    };
    state.queue.erase(queued);
    state.invocations.clear();
    state.signal_keys.clear();
    state.open_steps.clear();
    state.pending_steps.clear();
    state.waiting.clear();
    state.cages.clear();
    state.plan.entries.clear();
}

template <RunStatus kStatus>
void run_becomes(State& state, const Event&, const Json&) {
    if (state.run) state.run->status = kStatus;
}

void run_stopping(State& state, const Event&, const Json& body) {
    if (!state.run) return;
    state.run->status = RunStatus::stopping;
    state.run->stop_reason = text(body, "reason");
    state.waiting.clear();
    state.pending_steps.clear();
}

void run_finished(State& state, const Event&, const Json&) {
    state.run.reset();
    for (auto& cage : state.cages) cage.running = false;
    state.open_steps.clear();
    state.pending_steps.clear();
    state.waiting.clear();
}

void plan_updated(State& state, const Event&, const Json& body) {
    state.plan.revision = body.at("revision");
    state.plan.entries.clear();
    for (const auto& entry : body.at("entries"))
        state.plan.entries.push_back({text(entry, "id"), text(entry, "text"), text(entry, "status")}
        );
    const auto note = text(body, "note");
    if (state.run && !note.empty()) state.run->notes.push_back(note);
}

void agent_note(State& state, const Event&, const Json&) {
    if (state.run) state.run->notes.clear();
}

void agent_session(State& state, const Event&, const Json& body) {
    state.agent_sessions[text(body, "agent")] = text(body, "id");
}

void invocation_started(State& state, const Event& event, const Json& body) {
    Invocation inv;
    inv.id = InvocationId(text(body, "id"));
    inv.parent = InvocationId(text(body, "parent"));
    inv.agent = text(body, "agent");
    inv.runner = text(body, "runner");
    inv.depth = body.at("depth");
    inv.cage = dump_json(body.at("cage"));
    inv.started_at = event.at;
    const auto& cause = body.at("cause");
    inv.cause = {
        text(cause, "type"), cause.value("rule", -1), cause.value("signal_seq", std::int64_t{0})
    };
    inv.key = text(body, "key");
    std::erase_if(state.waiting, [&](const Waiting& w) { return w.invocation == inv.id; });
    state.invocations.push_back(std::move(inv));
}

void signal_emitted(State& state, const Event& event, const Json& body) {
    const auto key = text(body, "key");
    // One that is older than all these is not repeated any more.
    if (!key.empty() && state.signal_keys.size() < kMaxInvocations)
        state.signal_keys[key] = event.seq;
}

void set_state(State& state, const InvocationId& id, InvocationState to) {
    auto* inv = state.find_invocation(id);
    if (inv != nullptr && inv->state != InvocationState::finished) inv->state = to;
}

CageRecord* find_cage(State& state, const Json& body) {
    return const_cast<CageRecord*>(state.find_cage(CageId(text(body, "cage"))));
}

/// The oldest that has ended goes when more are remembered than a card list shows.
void forget_ended(std::vector<CageRecord>& cages) {
    const auto ended = [](const CageRecord& cage) { return !cage.running; };
    const auto count = std::count_if(cages.begin(), cages.end(), ended);
    if (static_cast<std::size_t>(count) <= kMaxEndedCages) return;
    cages.erase(std::find_if(cages.begin(), cages.end(), ended));
}

void cage_started(State& state, const Event& event, const Json& body) {
    CageRecord cage;
    cage.id = CageId(text(body, "cage"));
    cage.invocation = InvocationId(text(body, "invocation"));
    cage.seq = event.seq;
    cage.started_at = event.at;
    cage.disabled = body.value("policy", Json::object()).value("disabled", false);
    set_state(state, cage.invocation, InvocationState::working);
    const auto* inv = state.find_invocation(cage.invocation);
    if (inv == nullptr || state.find_cage(cage.id) != nullptr) return;
    cage.agent = inv->agent;
    cage.running = inv->state != InvocationState::finished;
    state.cages.push_back(std::move(cage));
    forget_ended(state.cages);
}

void cage_exited(State& state, const Event&, const Json& body) {
    auto* cage = find_cage(state, body);
    if (cage == nullptr) return;
    cage->running = false;
    forget_ended(state.cages);
}

void cage_denied(State& state, const Event&, const Json& body) {
    auto* cage = find_cage(state, body);
    if (cage != nullptr) cage->denials += body.value("count", std::int64_t{1});
}

/// Of session.imported and session.salvaged.
void imported(State& state, const Event&, const Json&) {
    // Another daemon, or the same one at another time, allowed and held these; or what was decided
    // of them later is lost.
    state.grants.clear();
    state.agent_sessions.clear();
    for (auto& cage : state.cages) cage.running = false;
}

void cage_granted(State& state, const Event& event, const Json& body) {
    Granted grant;
    grant.seq = event.seq;
    grant.run = event.run;
    grant.at = event.at;
    grant.by = text(body, "by");
    grant.agent = text(body, "agent");
    for (const auto& cage : body.at("cages")) grant.cages.emplace_back(cage.get<std::string>());
    grant.layer = text(body, "layer");
    grant.rule = text(body, "rule");
    grant.path = text(body, "path");
    grant.mode = text(body, "mode");
    grant.allow_private = body.value("private", false);
    grant.scope = text(body, "scope");
    grant.applied = text(body, "applied");
    grant.file = text(body, "file");
    auto& all = state.grants;
    std::erase_if(all, [&](const Granted& old) {
        return old.scope == "session" && old.agent == grant.agent && old.layer == grant.layer &&
               old.rule == grant.rule && grant.scope == "session";
    });
    all.push_back(std::move(grant));
    if (all.size() <= kMaxGrants) return;
    // What later cages depend on stays: decide_grant() refuses before only such are left.
    const auto spent = [](const Granted& old) { return old.scope != "session"; };
    const auto oldest = std::find_if(all.begin(), all.end(), spent);
    all.erase(oldest == all.end() ? all.begin() : oldest);
}

void grant_failed(State& state, const Event&, const Json& body) {
    auto* grant = const_cast<Granted*>(state.find_grant(body.at("granted")));
    if (grant == nullptr) return;
    grant->applied = text(body, "applied");
    grant->reason = text(body, "reason");
}

Step step_from(const Json& body) {
    return {StepId(text(body, "id")),
            InvocationId(text(body, "invocation")),
            text(body, "type"),
            text(body, "name"),
            text(body, "title"),
            body.contains("arguments") ? dump_json(body.at("arguments")) : "{}",
            text(body, "ref")};
}

void step_started(State& state, const Event&, const Json& body) {
    state.open_steps.push_back(step_from(body));
}

void step_held(State& state, const Event&, const Json& body) {
    state.pending_steps.push_back(step_from(body));
    set_state(state, state.pending_steps.back().invocation, InvocationState::held);
}

void step_released(State& state, const Event&, const Json& body) {
    const StepId id(text(body, "id"));
    const auto is = [&](const Step& step) { return step.id == id; };
    const auto found = std::find_if(state.pending_steps.begin(), state.pending_steps.end(), is);
    if (found == state.pending_steps.end()) return;
    set_state(state, found->invocation, InvocationState::working);
    state.open_steps.push_back(std::move(*found));
    state.pending_steps.erase(found);
}

void step_finished(State& state, const Event&, const Json& body) {
    const StepId id(text(body, "id"));
    std::erase_if(state.open_steps, [&](const Step& step) { return step.id == id; });
}

void remember_key(RuleMemory& memory, const std::string& key, UnixMillis at) {
    memory.keys[key] = at;
    if (memory.keys.size() <= kMaxDedupeKeys) return;
    const auto older = [](const auto& a, const auto& b) { return a.second < b.second; };
    memory.keys.erase(std::min_element(memory.keys.begin(), memory.keys.end(), older));
}

void fired(State& state, const Event& event, const Json& body) {
    constexpr UnixMillis minute = 60'000;
    const int rule = body.at("rule");
    auto& memory = state.rules[rule];
    memory.fired_at.push_back(event.at);
    while (memory.fired_at.front() <= event.at - minute) memory.fired_at.pop_front();
    const auto key = text(body, "dedupe");
    if (!key.empty()) remember_key(memory, key, event.at);
    state.waiting.push_back(
        {InvocationId(text(body, "invocation")), rule, body.at("signal_seq"),
         InvocationId(text(body, "parent")), body.at("depth"), text(body, "invoke"),
         text(body, "input")}
    );
}

void invocation_finished(State& state, const Event& event, const Json& body) {
    const InvocationId id(text(body, "id"));
    auto* inv = state.find_invocation(id);
    if (inv == nullptr) return;
    inv->state = InvocationState::finished;
    inv->outcome = text(body, "outcome");
    inv->reason = text(body, "reason");
    inv->result = text(body, "result");
    inv->finished_at = event.at;
    const auto of = [&](const Step& step) { return step.invocation == id; };
    std::erase_if(state.open_steps, of);
    std::erase_if(state.pending_steps, of);
    for (auto& cage : state.cages) {
        if (cage.invocation == id) cage.running = false;
    }
}

const std::unordered_map<std::string_view, Handler>& handlers() {
    static const std::unordered_map<std::string_view, Handler> table = {
        {"session.created", created},
        {"session.imported", imported},
        {"session.salvaged", imported},
        {"message.user", message_user},
        {"message.cancelled", message_cancelled},
        {"run.started", run_started},
        {"run.holding", run_becomes<RunStatus::holding>},
        {"run.held", run_becomes<RunStatus::held>},
        {"run.resumed", run_becomes<RunStatus::working>},
        {"run.stopping", run_stopping},
        {"run.finished", run_finished},
        {"plan.updated", plan_updated},
        {"agent.note", agent_note},
        {"agent.session", agent_session},
        {"invocation.started", invocation_started},
        {"invocation.finished", invocation_finished},
        {"cage.started", cage_started},
        {"cage.exited", cage_exited},
        {"cage.denied", cage_denied},
        {"cage.granted", cage_granted},
        {"cage.grant_failed", grant_failed},
        {"step.started", step_started},
        {"step.held", step_held},
        {"step.released", step_released},
        {"step.finished", step_finished},
        {"signal.emitted", signal_emitted},
        {"interconnect.fired", fired},
    };
    return table;
}

}  // namespace

void apply(State& state, const Event& event) {
    if (event.seq != state.last_seq + 1)
        throw Error(
            Errc::internal,
            fmt::format("event {} of {} follows {}", event.seq, event.session.str(), state.last_seq)
        );
    const auto handler = handlers().find(event.kind);
    if (handler != handlers().end()) {
        try {
            handler->second(state, event, Json::parse(event.body));
        } catch (const Json::exception& e) {
            throw Error(Errc::internal, fmt::format("fold {}: {}", event.kind, e.what()));
        }
    }
    state.last_seq = event.seq;
    state.updated_at = event.at;
}

State fold(const std::vector<Event>& log) {
    State state;
    for (const auto& event : log) apply(state, event);
    return state;
}

}  // namespace volary::session
