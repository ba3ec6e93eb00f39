// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/session/draft.hpp"
#include "daemon/session/grant.hpp"
#include "dsl/load.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

constexpr std::size_t kMaxStepText = 16 * 1024;  // what a person may want to open, not a dump

const dsl::Agent& agent_of(const Draft& draft, const Invocation& inv) {
    const auto* agent = dsl::find_agent(draft.context.project, inv.agent);
    if (agent == nullptr)
        throw Error(Errc::conflict, "the project has no agent \"" + inv.agent + "\" any more");
    return *agent;
}

Json parsed(const std::string& text) {
    auto doc = Json::parse(text, nullptr, false);
    return doc.is_discarded() ? Json(nullptr) : doc;
}

Json step_body(const Step& step) {
    auto arguments = step.arguments.size() <= kMaxStepText
                         ? parsed(step.arguments)
                         : Json{{"cut", utf8_prefix(step.arguments, kMaxStepText)}};
    return {{"id", step.id.str()}, {"invocation", step.invocation.str()},
            {"type", step.type},   {"name", step.name},
            {"title", step.title}, {"arguments", std::move(arguments)},
            {"ref", step.ref}};
}

const Step* find_step(const std::vector<Step>& steps, const StepId& id) {
    const auto found =
        std::find_if(steps.begin(), steps.end(), [&](const Step& step) { return step.id == id; });
    return found == steps.end() ? nullptr : &*found;
}

/// Reports of an invocation that has ended are late, not wrong: nothing follows from them.
bool is_live(const Draft& draft, const InvocationId& id) {
    const auto* inv = draft.state.find_invocation(id);
    return draft.state.run && inv != nullptr && inv->state != InvocationState::finished;
}

/// An event of one cage: what all of them carry, and `more`.
template <class Report>
void tell_of_cage(Draft& draft, std::string_view kind, const Report& report, Json more) {
    more["cage"] = report.cage.str();
    more["invocation"] = report.invocation.str();
    draft.emit(kind, more);
}

}  // namespace

const Invocation& require_live(const Draft& draft, const InvocationId& invocation) {
    const auto* inv = draft.state.find_invocation(invocation);
    if (!draft.state.run || inv == nullptr || inv->state == InvocationState::finished)
        throw Error(Errc::conflict, "the invocation " + invocation.str() + " has ended");
    return *inv;
}

void start_invocation(Draft& draft, const Json& started, const std::string& input) {
    auto body = started;
    body["input"] = utf8_prefix(input, kMaxShownInput);
    draft.emit_as("daemon", "invocation.started", body, draft.state.run->id);
    draft.effect(start_of(draft, draft.state.invocations.back(), input));
}

StartAgent start_of(const Draft& draft, const Invocation& inv, const std::string& input) {
    StartAgent start;
    start.invocation = inv.id;
    start.run = draft.state.run->id;
    start.agent = inv.agent;
    start.input = input;
    const auto known = draft.state.agent_sessions.find(start.agent);
    if (known != draft.state.agent_sessions.end()) start.agent_session = known->second;
    start.grants = grants_for(draft.state, draft.context.project, start.agent);
    return start;
}

void decide_report(Draft& draft, const CageStarted& command) {
    tell_of_cage(
        draft, "cage.started", command,
        {{"backend", command.backend},
         {"layers", command.layers},
         {"limits_backend", command.limits_backend},
         {"limits", parsed(command.limits)},
         {"policy", parsed(command.policy)}}
    );
}

void decide_report(Draft& draft, const CageExited& command) {
    // Told again by a daemon that came after the one that had heard of it.
    const auto* cage = draft.state.find_cage(command.cage);
    if (cage != nullptr && !cage->running) return;
    tell_of_cage(
        draft, "cage.exited", command, {{"status", command.status}, {"reason", command.reason}}
    );
}

void decide_report(Draft& draft, const CageRecovered& command) {
    tell_of_cage(
        draft, "cage.recovered", command, {{"verdict", command.verdict}, {"detail", command.detail}}
    );
}

void decide_report(Draft&, const PassStream&) {}

void decide_report(Draft& draft, const CageDenied& command) {
    tell_of_cage(
        draft, "cage.denied", command,
        {{"layer", command.layer},
         {"what", command.what},
         {"rule", command.rule},
         {"process", command.process},
         {"count", command.count}}
    );
}

void decide_report(Draft& draft, const CageLimit& command) {
    tell_of_cage(
        draft, "cage.limit", command, {{"limit", command.limit}, {"detail", command.detail}}
    );
}

void decide_report(Draft& draft, const Output& command) {
    draft.emit(
        "cage.output", {{"invocation", command.invocation.str()},
                        {"stream", command.stream},
                        {"text", command.text}}
    );
}

void decide_report(Draft& draft, const AgentSession& command) {
    const auto& inv = require_live(draft, command.invocation);
    // Only the primary's conversation goes on in the next run.
    const auto known = draft.state.agent_sessions.find(inv.agent);
    const bool same = known != draft.state.agent_sessions.end() && known->second == command.id;
    if (!inv.parent.empty() || same) return;
    draft.emit("agent.session", {{"agent", inv.agent}, {"id", command.id}});
}

void decide_report(Draft& draft, const RequestStep& command) {
    const auto inv = require_live(draft, command.step.invocation);
    const auto status = draft.state.run->status;
    // Asked again, because a daemon died before its agent had the answer.
    if (find_step(draft.state.pending_steps, command.step.id) != nullptr) return;
    if (find_step(draft.state.open_steps, command.step.id) != nullptr) {
        draft.effect(AdmitStep{command.step.invocation, command.step.id, {}});
        return;
    }
    if (status == RunStatus::stopping) throw Error(Errc::conflict, "the run is being stopped");
    if (status != RunStatus::working) {
        draft.emit("step.held", step_body(command.step));
        settle(draft);
        return;
    }
    draft.emit("step.started", step_body(command.step));
    AdmitStep admit{command.step.invocation, command.step.id, {}};
    if (inv.parent.empty()) admit.notes = take_notes(draft, inv);
    draft.effect(std::move(admit));
}

void decide_report(Draft& draft, const FinishStep& command) {
    if (!is_live(draft, command.invocation)) return;
    Json body = {
        {"id", command.id.str()},
        {"invocation", command.invocation.str()},
        {"ok", command.ok},
        {"result", utf8_prefix(command.result, kMaxStepText)},
        {"duration_ms", command.duration_ms}
    };
    if (!command.usage.empty()) body["usage"] = parsed(command.usage);
    draft.emit("step.finished", body);
}

void decide_report(Draft& draft, const FinishItem& command) {
    Json body = {
        {"item", command.item.str()},
        {"invocation", command.invocation.str()},
        {"text", command.text}
    };
    if (command.partial) body["partial"] = true;
    draft.emit(command.kind == "thought" ? "thought.agent" : "message.agent", body);
}

void decide_report(Draft& draft, const UpdatePlan& command) {
    const auto& inv = require_live(draft, command.invocation);
    if (!inv.parent.empty()) throw Error(Errc::denied, "only the primary keeps the session's plan");
    if (command.entries.size() > kMaxPlanEntries)
        throw Error(Errc::invalid, fmt::format("a plan has at most {} entries", kMaxPlanEntries));
    Json entries = Json::array();
    for (const auto& entry : command.entries) {
        if (entry.text.empty() || entry.text.size() > kMaxPlanText)
            throw Error(
                Errc::invalid, fmt::format("an entry's text needs 1 to {} bytes", kMaxPlanText)
            );
        const auto id = entry.id.empty() ? fmt::format("{}", entries.size() + 1) : entry.id;
        entries.push_back({{"id", id}, {"text", entry.text}, {"status", entry.status}});
    }
    const auto revision = draft.state.plan.revision + 1;
    draft.emit("plan.updated", {{"revision", revision}, {"entries", std::move(entries)}});
}

void decide_report(Draft& draft, const InvokeSubagent& command) {
    auto& state = draft.state;
    const auto parent = require_live(draft, command.parent);
    if (state.run->status == RunStatus::stopping)
        throw Error(Errc::conflict, "the run is being stopped");
    for (const auto& inv : state.invocations) {
        if (command.key.empty() || inv.key != command.key || inv.parent != parent.id) continue;
        draft.decision.answer.invocation = inv.id;
        return;
    }
    const auto& agent = agent_of(draft, parent);
    const auto is = [&](const dsl::Agent& child) { return child.name == command.agent; };
    const auto child = std::find_if(agent.subagents.begin(), agent.subagents.end(), is);
    if (child == agent.subagents.end())
        throw Error(
            Errc::not_found, fmt::format("{} has no subagent \"{}\"", agent.path, command.agent)
        );
    if (state.invocations.size() >= kMaxInvocations)
        throw Error(Errc::busy, fmt::format("a run has at most {} invocations", kMaxInvocations));
    const auto id = InvocationId::make(draft.context.clock);
    Json started = {
        {"id", id.str()},
        {"parent", parent.id.str()},
        {"agent", child->path},
        {"runner", dsl::to_string(child->runner.kind)},
        {"depth", parent.depth + 1},
        {"cause", {{"type", "tool"}}},
        {"cage", Json::parse(dsl::cage_words_json(child->cage))},
    };
    if (!command.key.empty()) started["key"] = command.key;
    start_invocation(draft, started, command.task);
    draft.decision.answer.invocation = id;
}

void decide_report(Draft& draft, const FinishInvocation& command) {
    // Its end is in the log with this report, or was before.
    draft.effect(ReleaseCage{command.invocation});
    if (!is_live(draft, command.invocation)) return;
    const bool stopping = draft.state.run->status == RunStatus::stopping;
    const bool succeeded = command.outcome == "succeeded";
    // What ends while the operator stops it was stopped, whatever its last words were.
    const auto outcome = stopping && !succeeded ? std::string("stopped") : command.outcome;
    draft.emit(
        "invocation.finished", {{"id", command.invocation.str()},
                                {"outcome", outcome},
                                {"reason", command.reason},
                                {"result", utf8_prefix(command.result, kMaxResult)}}
    );
    draft.effect(TellFinished{command.invocation});
    start_waiting(draft);
    settle(draft);
}

}  // namespace volary::session
