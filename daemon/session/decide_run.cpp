// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/session/draft.hpp"
#include "dsl/load.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

constexpr std::string_view kDaemon = "daemon";
constexpr std::size_t kMaxTitle = 80;  // one line in a list on a phone

std::string title_from(std::string_view text) {
    const auto line = text.substr(0, text.find('\n'));
    if (line.size() <= kMaxTitle) return std::string(line);
    return std::string(utf8_prefix(line, kMaxTitle)) + "…";
}

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// Admits no new step, or has one of these already; the run cannot be told anything else.
bool stopping(const State& state) { return state.run && state.run->status == RunStatus::stopping; }

void require_run(const State& state, std::string_view doing) {
    if (!state.run)
        throw Error(
            Errc::conflict, fmt::format("nothing runs in this session: no run to {}", doing)
        );
    if (stopping(state))
        throw Error(Errc::conflict, fmt::format("the run is being stopped: it cannot {}", doing));
}

void require_meant(const State& state, const RunId& run) {
    if (run.empty() || (state.run && state.run->id == run)) return;
    throw Error(Errc::conflict, "the run " + run.str() + " is over");
}

/// An invocation that makes no progress until the run is resumed, or has ended.
bool is_blocked(const State& state, const Invocation& inv) {
    if (inv.state == InvocationState::finished || inv.state == InvocationState::held) return true;
    const auto waits_for_child = [&](const Step& step) {
        return step.invocation == inv.id && step.name == "subagent_result";
    };
    return std::any_of(state.open_steps.begin(), state.open_steps.end(), waits_for_child);
}

void finish_run(Draft& draft) {
    auto& state = draft.state;
    std::string outcome = "succeeded";
    std::string reason;
    const auto run = state.run->id;
    if (state.run->status == RunStatus::stopping) {
        outcome = "stopped";
        reason = state.run->stop_reason;
    } else {
        for (const auto& inv : state.invocations) {
            // A parent hears of the failure of what it called; of what a signal started, nobody.
            const bool counts = inv.parent.empty() || inv.cause.type == "signal";
            if (!counts || inv.outcome == "succeeded") continue;
            outcome = inv.outcome;
            reason = inv.parent.empty() ? inv.reason : inv.agent + ": " + inv.reason;
            break;
        }
    }
    const bool goes_on = outcome == "succeeded" || outcome == "failed";
    draft.emit_as(kDaemon, "run.finished", {{"outcome", outcome}, {"reason", reason}}, run);
    // A stop does not eat the queue, and does not let it run on behind the operator's back.
    if (goes_on) start_next(draft);
}

PlanEntry* find_entry(Plan& plan, const std::string& id) {
    const auto is = [&](const PlanEntry& entry) { return entry.id == id; };
    const auto found = std::find_if(plan.entries.begin(), plan.entries.end(), is);
    return found == plan.entries.end() ? nullptr : &*found;
}

void check_edit(const EditPlan& command) {
    if (!command.text && !command.status) throw Error(Errc::invalid, "body: needs text or status");
    if (command.text && (is_blank(*command.text) || command.text->size() > kMaxPlanText))
        throw Error(Errc::invalid, fmt::format("body.text: needs 1 to {} bytes", kMaxPlanText));
    const bool known = !command.status || *command.status == "pending" ||
                       *command.status == "in_progress" || *command.status == "completed";
    if (!known)
        throw Error(Errc::invalid, "body.status: must be pending, in_progress or completed");
}

std::string edit_note(const PlanEntry& before, const PlanEntry& after) {
    if (before.text == after.text)
        return fmt::format(
            "The operator set plan entry {} (\"{}\") to {}.", after.id, after.text, after.status
        );
    return fmt::format(
        "The operator edited plan entry {}: \"{}\" is now \"{}\" ({}).", after.id, before.text,
        after.text, after.status
    );
}

Json entry_json(const PlanEntry& entry) {
    return {{"id", entry.id}, {"text", entry.text}, {"status", entry.status}};
}

}  // namespace

void decide_post(Draft& draft, const PostMessage& command) {
    auto& state = draft.state;
    if (is_blank(command.text)) throw Error(Errc::invalid, "body.text: must not be empty");
    if (command.text.size() > kMaxMessage)
        throw Error(
            Errc::too_large, fmt::format("body.text: at most {} bytes are taken", kMaxMessage)
        );
    if (state.queue.size() >= kMaxQueue)
        throw Error(Errc::busy, fmt::format("{} messages are queued already", kMaxQueue));
    if (state.last_seq == 0) {
        const Json body = {
            {"project", draft.context.project.name}, {"title", title_from(command.text)}
        };
        draft.emit_for("session.created", body, RunId());
    }
    const auto run = RunId::make(draft.context.clock);
    const auto message = MessageId::make(draft.context.clock);
    const Json body = {{"id", message.str()}, {"text", command.text}, {"client", command.client}};
    const auto seq = draft.emit_for("message.user", body, run).seq;
    start_next(draft);
    draft.decision.answer.run = run;
    draft.decision.answer.message = message;
    draft.decision.answer.seq = seq;
}

void decide_cancel(Draft& draft, const CancelQueued& command) {
    const auto& queue = draft.state.queue;
    const auto is = [&](const QueuedRun& queued) { return queued.run == command.run; };
    const auto found = std::find_if(queue.begin(), queue.end(), is);
    if (found == queue.end()) {
        if (draft.state.run && draft.state.run->id == command.run)
            throw Error(Errc::conflict, "the message is being worked on: stop its run instead");
        throw Error(Errc::not_found, "no queued message with run " + command.run.str());
    }
    draft.emit_for("message.cancelled", {{"id", found->message.str()}}, command.run);
}

void decide_hold(Draft& draft, const Hold& command) {
    require_meant(draft.state, command.run);
    require_run(draft.state, "hold");
    if (draft.state.run->status != RunStatus::working)
        throw Error(Errc::conflict, "the run is held already");
    draft.emit("run.holding", Json::object());
    settle(draft);
}

void decide_resume(Draft& draft, const Resume& command) {
    auto& state = draft.state;
    require_meant(state, command.run);
    if (!state.run && !state.queue.empty()) {
        start_next(draft);
        return;
    }
    require_run(state, "resume");
    if (state.run->status == RunStatus::working) throw Error(Errc::conflict, "the run is not held");
    const auto seq = draft.emit("run.resumed", {{"notes", state.run->notes}}).seq;
    const auto pending = state.pending_steps;
    for (const auto& step : pending) {
        draft.emit_as(kDaemon, "step.released", {{"id", step.id.str()}}, state.run->id);
        AdmitStep admit{step.invocation, step.id, {}};
        const auto* inv = state.find_invocation(step.invocation);
        if (inv != nullptr && inv->parent.empty()) admit.notes = take_notes(draft, *inv);
        draft.effect(std::move(admit));
    }
    start_waiting(draft);
    settle(draft);
    draft.decision.answer.seq = seq;
}

std::vector<std::string> take_notes(Draft& draft, const Invocation& primary) {
    auto notes = draft.state.run->notes;
    if (notes.empty()) return notes;
    const Json body = {
        {"invocation", primary.id.str()}, {"text", fmt::format("{}", fmt::join(notes, "\n"))}
    };
    draft.emit_as(kDaemon, "agent.note", body, draft.state.run->id);
    return notes;
}

void decide_stop(Draft& draft, const Stop& command) {
    auto& state = draft.state;
    require_meant(state, command.run);
    require_run(state, "stop");
    const auto seq = draft.emit("run.stopping", {{"reason", command.reason}}).seq;
    StopAgents stop;
    for (const auto& inv : state.invocations) {
        if (inv.state != InvocationState::finished) stop.invocations.push_back(inv.id);
    }
    draft.effect(std::move(stop));
    settle(draft);
    draft.decision.answer.seq = seq;
}

void decide_edit(Draft& draft, const EditPlan& command) {
    auto& state = draft.state;
    check_edit(command);
    require_run(state, "be edited");
    if (state.run->status == RunStatus::working)
        throw Error(Errc::conflict, "the plan can be edited while the run is held: hold it first");
    auto plan = state.plan;
    auto* entry = find_entry(plan, command.entry);
    if (entry == nullptr)
        throw Error(Errc::not_found, fmt::format("the plan has no entry \"{}\"", command.entry));
    const auto before = *entry;
    if (command.text) entry->text = *command.text;
    if (command.status) entry->status = *command.status;
    Json entries = Json::array();
    for (const auto& each : plan.entries) entries.push_back(entry_json(each));
    const Json change = {
        {"entry", entry->id}, {"before", entry_json(before)}, {"after", entry_json(*entry)}
    };
    draft.emit(
        "plan.updated", {{"revision", plan.revision + 1},
                         {"entries", std::move(entries)},
                         {"change", change},
                         {"note", edit_note(before, *entry)}}
    );
}

namespace {

void adopt(Draft& draft, const Invocation& inv, const Survivor& survivor) {
    AdoptAgent adopt;
    adopt.start = start_of(draft, inv, {});
    adopt.survivor = survivor;
    adopt.stopping = stopping(draft.state);
    for (const auto* list : {&draft.state.open_steps, &draft.state.pending_steps})
        for (const auto& step : *list)
            if (step.invocation == inv.id && !step.ref.empty()) adopt.steps[step.ref] = step.id;
    draft.effect(std::move(adopt));
}

void tell_lost(Draft& draft, const Invocation& inv) {
    const auto cages = draft.state.cages;
    for (const auto& cage : cages) {
        if (cage.invocation != inv.id || !cage.running) continue;
        const Json body = {
            {"invocation", inv.id.str()},
            {"cage", cage.id.str()},
            {"verdict", "lost"},
            {"detail", "the daemon ended, and it was not found again"}
        };
        draft.emit("cage.recovered", body);
    }
}

}  // namespace

void decide_recover(Draft& draft, const Recover& command) {
    const auto lives = [&](const InvocationId& id) {
        const auto is = [&](const Survivor& one) { return one.invocation == id; };
        return std::any_of(command.survivors.begin(), command.survivors.end(), is);
    };
    // What a survivor was saying it says again: from the place up to which it took effect.
    for (const auto& item : command.unfinished)
        if (!lives(item.invocation)) decide_report(draft, item);
    if (!draft.state.run) return;
    const auto survivor_of = [&](const Invocation& inv) -> const Survivor* {
        const auto is = [&](const Survivor& one) { return one.invocation == inv.id; };
        const auto found = std::find_if(command.survivors.begin(), command.survivors.end(), is);
        return found == command.survivors.end() ? nullptr : &*found;
    };
    const auto invocations = draft.state.invocations;
    const auto primary_lives = std::any_of(invocations.begin(), invocations.end(), [&](auto& inv) {
        return inv.parent.empty() && (inv.state == InvocationState::finished || survivor_of(inv) ||
                                      command.unstarted.contains(inv.id));
    });
    for (const auto& inv : invocations) {
        if (inv.state == InvocationState::finished) continue;
        const auto* survivor = survivor_of(inv);
        // What a lost agent had called would work for nobody.
        if (survivor != nullptr && primary_lives) {
            adopt(draft, inv, *survivor);
            continue;
        }
        const auto unstarted = command.unstarted.find(inv.id);
        if (unstarted != command.unstarted.end() && primary_lives && !stopping(draft.state)) {
            draft.effect(start_of(draft, inv, unstarted->second));
            continue;
        }
        tell_lost(draft, inv);
        const Json body = {
            {"id", inv.id.str()},
            {"outcome", "lost"},
            {"reason", "the daemon ended while it worked"},
            {"result", ""}
        };
        draft.emit("invocation.finished", body);
        draft.effect(TellFinished{inv.id});
        draft.effect(ReleaseCage{inv.id});
    }
    if (primary_lives) {
        start_waiting(draft);
        settle(draft);
        return;
    }
    const Json body = {{"outcome", "lost"}, {"reason", "the daemon ended while it worked"}};
    draft.emit("run.finished", body);
}

void start_next(Draft& draft) {
    auto& state = draft.state;
    if (state.run || state.queue.empty()) return;
    const auto next = state.queue.front();
    const auto& primary = draft.context.project.primary;
    draft.emit_as(kDaemon, "run.started", {{"message", next.message.str()}}, next.run);
    const Json started = {
        {"id", InvocationId::make(draft.context.clock).str()},
        {"parent", nullptr},
        {"agent", primary.path},
        {"runner", dsl::to_string(primary.runner.kind)},
        {"depth", 0},
        {"cause", {{"type", "message"}}},
        {"cage", Json::parse(dsl::cage_words_json(primary.cage))},
    };
    start_invocation(draft, started, next.text);
}

void settle(Draft& draft) {
    auto& state = draft.state;
    if (!state.run) return;
    const auto finished = [](const Invocation& inv) {
        return inv.state == InvocationState::finished;
    };
    const auto& all = state.invocations;
    if (std::all_of(all.begin(), all.end(), finished) && state.waiting.empty()) {
        finish_run(draft);
        return;
    }
    if (state.run->status != RunStatus::holding) return;
    const auto blocked = [&](const Invocation& inv) { return is_blocked(state, inv); };
    if (std::all_of(all.begin(), all.end(), blocked))
        draft.emit_as(kDaemon, "run.held", Json::object(), state.run->id);
}

}  // namespace volary::session
