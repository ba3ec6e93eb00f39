// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/session/draft.hpp"
#include "dsl/load.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

constexpr std::size_t kMaxSignalData = 64 * 1024;  // a note between agents, not a file transfer

struct Signal {
    const EmitSignal& command;
    Json data;
    Invocation source;
    std::int64_t seq = 0;
};

/// What makes two signals the same for a rule; empty when the rule does not ask.
std::string dedupe_key(const dsl::InterconnectRule& rule, const Json& data) {
    if (rule.dedupe.empty()) return {};
    Json key = Json::array();
    for (const auto& pointer : rule.dedupe) {
        const Json::json_pointer at(pointer);
        key.push_back(data.contains(at) ? data.at(at) : Json(nullptr));
    }
    return dump_json(key);
}

bool is_duplicate(
    const dsl::InterconnectRule& rule, const RuleMemory& memory, const std::string& key,
    UnixMillis now
) {
    if (key.empty()) return false;
    const auto seen = memory.keys.find(key);
    if (seen == memory.keys.end()) return false;
    return !rule.dedupe_window || now - seen->second < rule.dedupe_window->count();
}

std::size_t fired_within_a_minute(const RuleMemory& memory, UnixMillis now) {
    constexpr UnixMillis minute = 60'000;
    const auto recent = [&](UnixMillis at) { return at > now - minute; };
    return static_cast<std::size_t>(
        std::count_if(memory.fired_at.begin(), memory.fired_at.end(), recent)
    );
}

/// The limit that stands against firing now; empty when none does.
std::string_view reached_limit(
    const Draft& draft, const dsl::InterconnectRule& rule, const RuleMemory& memory,
    const Signal& signal
) {
    if (signal.source.depth + 1 > static_cast<int>(rule.max_depth)) return "max_depth";
    const auto now = draft.context.clock.now_ms();
    if (fired_within_a_minute(memory, now) >= rule.max_per_minute) return "max_per_minute";
    if (draft.state.invocations.size() + draft.state.waiting.size() >= kMaxInvocations)
        return "max_invocations";
    return {};
}

void tell_limited(
    Draft& draft, int index, const Signal& signal, std::string_view limit, std::string_view action
) {
    const Json body = {
        {"rule", index}, {"signal_seq", signal.seq}, {"limit", limit}, {"action", action}
    };
    draft.emit_as("daemon", "interconnect.limited", body, draft.state.run->id);
}

void fire(Draft& draft, int index, const dsl::InterconnectRule& rule, const Signal& signal) {
    const auto& state = draft.state;
    const auto memory = state.rules.contains(index) ? state.rules.at(index) : RuleMemory{};
    const auto key = dedupe_key(rule, signal.data);
    if (is_duplicate(rule, memory, key, draft.context.clock.now_ms())) {
        tell_limited(draft, index, signal, "dedupe", "dropped");
        return;
    }
    const auto limit = reached_limit(draft, rule, memory, signal);
    if (!limit.empty() && rule.on_limit == dsl::InterconnectRule::OnLimit::drop) {
        tell_limited(draft, index, signal, limit, "dropped");
        return;
    }
    const Json input = {
        {"signal", signal.command.signal}, {"from", signal.source.agent}, {"data", signal.data}
    };
    const Json body = {
        {"rule", index},
        {"signal_seq", signal.seq},
        {"from", signal.source.agent},
        {"invoke", rule.invoke},
        {"invocation", InvocationId::make(draft.context.clock).str()},
        {"parent", signal.source.id.str()},
        {"depth", signal.source.depth + 1},
        {"dedupe", key},
        {"input", dump_json(input)},
    };
    draft.emit_as("daemon", "interconnect.fired", body, state.run->id);
    if (limit.empty()) return;
    // It has fired, and waits: the operator sees the hold and decides whether it goes on.
    tell_limited(draft, index, signal, limit, "held");
    if (state.run->status == RunStatus::working)
        draft.emit_as("daemon", "run.holding", Json::object(), state.run->id);
}

std::size_t in_flight(const State& state, int rule) {
    const auto live = [&](const Invocation& inv) {
        return inv.cause.rule == rule && inv.state != InvocationState::finished;
    };
    return static_cast<std::size_t>(
        std::count_if(state.invocations.begin(), state.invocations.end(), live)
    );
}

/// The oldest that may start: first in, first out per target, within each rule's max_in_flight.
const Waiting* next_to_start(const Draft& draft) {
    std::vector<std::string> blocked;
    for (const auto& waiting : draft.state.waiting) {
        const auto seen = std::find(blocked.begin(), blocked.end(), waiting.agent);
        if (seen != blocked.end()) continue;
        const auto& rules = draft.context.project.interconnect;
        const auto index = static_cast<std::size_t>(waiting.rule);
        const auto most = index < rules.size() ? rules[index].max_in_flight : 1U;
        if (in_flight(draft.state, waiting.rule) < most) return &waiting;
        blocked.push_back(waiting.agent);
    }
    return nullptr;
}

bool comes_from(const dsl::InterconnectRule& rule, const Invocation& source) {
    return rule.from == "*" || rule.from == source.agent;
}

}  // namespace

void decide_signal(Draft& draft, const EmitSignal& command) {
    const auto source = require_live(draft, command.invocation);
    if (draft.state.run->status == RunStatus::stopping)
        throw Error(Errc::conflict, "the run is being stopped");
    const auto before = draft.state.signal_keys.find(command.key);
    if (!command.key.empty() && before != draft.state.signal_keys.end()) {
        draft.decision.answer.seq = before->second;
        return;
    }
    const auto* agent = dsl::find_agent(draft.context.project, source.agent);
    const auto declared = agent != nullptr &&
                          std::find(agent->signals.begin(), agent->signals.end(), command.signal) !=
                              agent->signals.end();
    if (!declared)
        throw Error(
            Errc::denied, fmt::format(
                              "{} does not declare the signal \"{}\" in the project file",
                              source.agent, command.signal
                          )
        );
    if (command.data.size() > kMaxSignalData)
        throw Error(
            Errc::too_large, fmt::format("a signal carries at most {} bytes", kMaxSignalData)
        );
    Signal signal{command, Json::parse(command.data, nullptr, false), source};
    if (signal.data.is_discarded()) throw Error(Errc::invalid, "a signal's data must be JSON");
    Json body = {
        {"invocation", source.id.str()},
        {"agent", source.agent},
        {"signal", command.signal},
        {"data", signal.data}
    };
    if (!command.key.empty()) body["key"] = command.key;
    signal.seq = draft.emit("signal.emitted", body).seq;
    const auto& rules = draft.context.project.interconnect;
    for (std::size_t i = 0; i < rules.size(); ++i) {
        if (rules[i].on == command.signal && comes_from(rules[i], source))
            fire(draft, static_cast<int>(i), rules[i], signal);
    }
    start_waiting(draft);
    draft.decision.answer.seq = signal.seq;
}

void start_waiting(Draft& draft) {
    auto& state = draft.state;
    if (!state.run || state.run->status != RunStatus::working) return;
    while (const auto* next = next_to_start(draft)) {
        const auto waiting = *next;
        const auto* agent = dsl::find_agent(draft.context.project, waiting.agent);
        // The project was checked when it was loaded, and a run keeps the project it began with.
        if (agent == nullptr)
            throw Error(Errc::internal, "interconnect names no agent: " + waiting.agent);
        const Json started = {
            {"id", waiting.invocation.str()},
            {"parent", waiting.parent.str()},
            {"agent", waiting.agent},
            {"runner", dsl::to_string(agent->runner.kind)},
            {"depth", waiting.depth},
            {"cause",
             {{"type", "signal"}, {"rule", waiting.rule}, {"signal_seq", waiting.signal_seq}}},
            {"cage", Json::parse(dsl::cage_words_json(agent->cage))},
        };
        start_invocation(draft, started, waiting.input);
    }
}

}  // namespace volary::session
