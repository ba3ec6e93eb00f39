// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/event.hpp"
#include "base/ids.hpp"
#include "base/json.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace volary::session {

struct PlanEntry {
    std::string id;
    std::string text;
    std::string status = "pending";  ///< pending, in_progress, completed
    bool operator==(const PlanEntry&) const = default;
};

struct Plan {
    std::int64_t revision = 0;
    std::vector<PlanEntry> entries;
    bool operator==(const Plan&) const = default;
};

/// What made an invocation: the operator's message, a parent's tool call, or a signal.
struct Cause {
    std::string type;             ///< message, tool, signal
    int rule = -1;                ///< index in `interconnect`, for a signal
    std::int64_t signal_seq = 0;  ///< log position of the signal
    bool operator==(const Cause&) const = default;
};

enum class InvocationState { starting, working, held, finished };

struct Invocation {
    InvocationId id;
    InvocationId parent;  ///< empty for the primary
    std::string agent;    ///< path in the tree, e.g. "primary/scraper"
    std::string runner;   ///< builtin, acp, exec
    int depth = 0;        ///< number of invocations above it
    InvocationState state = InvocationState::starting;
    std::string outcome;  ///< succeeded, failed, stopped, lost; empty until finished
    std::string reason;
    std::string result;  ///< what it answered; at most kMaxResult bytes
    std::string cage;    ///< CageBadge, text of one JSON object
    UnixMillis started_at = 0;
    UnixMillis finished_at = 0;
    Cause cause;
    std::string key;  ///< of the parent's request, so that the same one again starts nothing
    bool operator==(const Invocation&) const = default;
};

/// A model call or tool call that is being made, or waits for the run to be resumed.
struct Step {
    StepId id;
    InvocationId invocation;
    std::string type;  ///< model, tool
    std::string name;
    std::string title;
    std::string arguments = "{}";  ///< text of one JSON value
    std::string ref = {};          ///< the agent's own name for it; empty: none known
    bool operator==(const Step&) const = default;
};

struct QueuedRun {
    RunId run;
    MessageId message;
    std::string text;
    bool operator==(const QueuedRun&) const = default;
};

enum class RunStatus { working, holding, held, stopping };

struct Run {
    RunId id;
    MessageId message;
    std::string text;
    RunStatus status = RunStatus::working;
    UnixMillis started_at = 0;
    std::string stop_reason;
    std::vector<std::string> notes;  ///< edits made while held, told to the primary on resume
    bool operator==(const Run&) const = default;
};

/// A rule that has fired and whose invocation waits for its turn (FIFO per target).
struct Waiting {
    InvocationId invocation;
    int rule = 0;
    std::int64_t signal_seq = 0;
    InvocationId parent;
    int depth = 0;
    std::string agent;
    std::string input;
    bool operator==(const Waiting&) const = default;
};

/// What interconnect remembers of one rule, within its limits.
struct RuleMemory {
    std::map<std::string, UnixMillis> keys;  ///< dedupe keys that have fired, and when
    std::deque<UnixMillis> fired_at;         ///< of the last minute
    bool operator==(const RuleMemory&) const = default;
};

/// A cage of the current or the last run.
struct CageRecord {
    CageId id;
    InvocationId invocation;
    std::string agent;
    std::int64_t seq = 0;  ///< log position of its `cage.started`, which has the whole card
    UnixMillis started_at = 0;
    std::int64_t denials = 0;
    bool running = true;
    bool disabled = false;
    bool operator==(const CageRecord&) const = default;
};

/// What the operator has allowed an agent beyond its policy. Texts: what they mean depends on the
/// project that is current when a cage starts.
struct Granted {
    std::int64_t seq = 0;  ///< log position of its `cage.granted`
    RunId run;             ///< during which it was given; may be empty
    UnixMillis at = 0;
    std::string by;
    std::string agent;
    std::vector<CageId> cages;  ///< that lived and were meant
    std::string layer;          ///< net, fs
    std::string rule;           ///< as people read it
    std::string path;           ///< fs: beneath the project's root
    std::string mode;           ///< fs: ro, rw
    bool allow_private = false;
    std::string scope;    ///< once, session, project
    std::string applied;  ///< live, next_start, none
    std::string reason;   ///< why it was not applied as it was meant
    std::string file;     ///< project: what was edited
    bool operator==(const Granted&) const = default;
};

/// The fold of one session's log: everything that decides what may happen next.
struct State {
    SessionId id;
    std::string project;
    std::string title;
    UnixMillis created_at = 0;
    UnixMillis updated_at = 0;
    std::int64_t last_seq = 0;
    std::optional<Run> run;
    std::deque<QueuedRun> queue;
    Plan plan;
    std::vector<Invocation> invocations;  ///< of the current or the last run
    std::vector<Step> open_steps;
    std::vector<Step> pending_steps;
    std::deque<Waiting> waiting;
    std::map<int, RuleMemory> rules;
    std::map<std::string, std::string> agent_sessions;  ///< agent path -> its own session id
    std::vector<CageRecord> cages;                      ///< in order of their start
    std::deque<Granted> grants;                         ///< in order of the log
    /// Signals of the run that came with a key, and where in the log.
    std::map<std::string, std::int64_t> signal_keys;
    bool operator==(const State&) const = default;

    const Invocation* find_invocation(const InvocationId& invocation) const;
    Invocation* find_invocation(const InvocationId& invocation);
    const CageRecord* find_cage(const CageId& cage) const;
    const Granted* find_grant(std::int64_t seq) const;
};

/// Bounds of what a session keeps in memory (style.md, section 3).
inline constexpr std::size_t kMaxQueue = 64;            ///< more than any person queues by hand
inline constexpr std::size_t kMaxInvocations = 256;     ///< a run: beyond it a loop is at work
inline constexpr std::size_t kMaxPlanEntries = 64;      ///< a plan that a person can read
inline constexpr std::size_t kMaxPlanText = 500;        ///< bytes of one entry
inline constexpr std::size_t kMaxMessage = 256 * 1024;  ///< bytes of an operator's message
inline constexpr std::size_t kMaxShownInput = 4096;     ///< bytes of an input in the log
inline constexpr std::size_t kMaxResult = 64 * 1024;    ///< bytes kept of an answer
inline constexpr std::size_t kMaxDedupeKeys = 4096;     ///< of one rule; the oldest goes
inline constexpr std::size_t kMaxEndedCages = 32;       ///< whose cards are shown; the oldest goes
inline constexpr std::size_t kMaxGrants = 64;           ///< remembered: each is a person's click

/// idle, working, holding, held, stopping: the word of the API.
std::string_view status_of(const State& state);
std::string_view to_string(RunStatus status);
std::string_view to_string(InvocationState state);

/// SessionState as the API sends it (docs/api.md).
Json public_json(const State& state);
/// SessionSummary as the API sends it.
Json summary_json(const State& state);

/// The whole fold, for the projection; state_from_json() gives it back.
std::string to_projection(const State& state);
/// Throws Error{internal} when the text is not a projection of ours.
State from_projection(const std::string& text);

}  // namespace volary::session
