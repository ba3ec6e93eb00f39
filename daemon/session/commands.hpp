// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/grant.hpp"
#include "daemon/session/state.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace volary::session {

// ---- what the operator asks -------------------------------------------------------------

struct PostMessage {
    std::string text;
    std::string client;  ///< web, cli ...: told in the log
};
struct CancelQueued {
    RunId run;
};
/// `run`, where it is given, is the run that is meant: an act that arrives late must not hit the
/// one that came after.
struct Hold {
    RunId run;
};
struct Resume {
    RunId run;
};
struct Stop {
    std::string reason;
    RunId run;
};
struct EditPlan {
    std::string entry;
    std::optional<std::string> text;
    std::optional<std::string> status;
};

/// What a change of the project file was decided on, and what it becomes.
struct ProjectEdit {
    std::string file;    ///< absolute path
    std::string before;  ///< the text that the operator's diff was made from
    std::string after;
};
/// Allows an agent something beyond its policy (docs/api.md, "Grants").
struct Grant {
    std::string agent;
    CageId cage;  ///< empty: every live cage of the agent
    GrantRule rule;
    GrantScope scope = GrantScope::once;
    std::optional<ProjectEdit> edit;  ///< with GrantScope::project, once it was confirmed
};
/// The operator has taken or dropped changes that lie in the layers of `cow` folders.
struct SettleChanges {
    enum class Verdict { kept, dropped };
    Verdict verdict = Verdict::kept;
    std::string agent;
    std::size_t paths = 0;
    std::vector<std::string> refused;  ///< "PATH: why"
};

/// How much of a stream of a cage has taken effect, with the report that it became.
struct StreamMark {
    CageId cage;
    int stream = 0;
    std::uint64_t offset = 0;
};

// ---- what the agents report -------------------------------------------------------------

struct CageStarted {
    InvocationId invocation;
    CageId cage;
    std::vector<std::string> layers;
    std::string limits_backend;
    std::string backend;
    std::string policy = "{}";  ///< the card of the policy, text of one JSON object
    std::string limits = "[]";  ///< name, limit and unit of each, text of one JSON array
};
struct CageExited {
    InvocationId invocation;
    CageId cage;
    std::string status;
    std::string reason;
};
struct CageDenied {
    InvocationId invocation;
    CageId cage;
    std::string layer;
    std::string what;
    std::string rule;
    std::string process;
    std::int64_t count = 1;
};
struct CageLimit {
    InvocationId invocation;
    CageId cage;
    std::string limit;
    std::string detail;
};
/// A grant that was recorded could not be carried out as it was meant.
struct GrantFailed {
    std::int64_t granted = 0;  ///< log position of the grant
    std::string applied;       ///< next_start; none: it is void
    std::string reason;
};
struct Output {
    InvocationId invocation;
    std::string stream;  ///< stdout, stderr
    std::string text;
};
struct AgentSession {
    InvocationId invocation;
    std::string id;  ///< the agent's own session id, for session/load
};
/// An agent wants to make a step; it is admitted at once or when the run is resumed.
struct RequestStep {
    Step step;
};
struct FinishStep {
    InvocationId invocation;
    StepId id;
    bool ok = true;
    std::string result;
    std::int64_t duration_ms = 0;
    std::string usage;  ///< text of one JSON object; empty: none known
};
struct FinishItem {
    InvocationId invocation;
    ItemId item;
    std::string kind;  ///< text, thought
    std::string text;
    bool partial = false;
};
struct UpdatePlan {
    InvocationId invocation;
    std::vector<PlanEntry> entries;  ///< ids may be empty: given in order
};
struct InvokeSubagent {
    InvocationId parent;
    std::string agent;  ///< name of a direct subagent
    std::string task;
    std::string key = {};  ///< the same one of the same parent again is answered as before
};
struct EmitSignal {
    InvocationId invocation;
    std::string signal;
    std::string data;      ///< text of one JSON value
    std::string key = {};  ///< as of InvokeSubagent
};
/// A cage of an earlier daemon was found again.
struct CageRecovered {
    InvocationId invocation;
    CageId cage;
    std::string verdict;  ///< re-adopted, exited_while_away
    std::string detail;
};
/// Nothing to record but how far a stream has come.
struct PassStream {};
struct FinishInvocation {
    InvocationId invocation;
    std::string outcome;  ///< succeeded, failed, stopped, lost
    std::string reason;
    std::string result;
};
/// An invocation whose cage is there again, and what its agent must be told or spared.
struct Survivor {
    InvocationId invocation;
    CageId cage;
    std::string last_text;                 ///< its newest message
    std::string tail;                      ///< of its standard output
    std::map<int, std::uint64_t> applied;  ///< by stream: how much took effect
};
/// The daemon has started again: what was under way and is not among the survivors is gone.
struct Recover {
    std::vector<FinishItem> unfinished = {};
    std::vector<Survivor> survivors = {};
    /// Invocations of which no cage was ever seen to run, and their whole input: nothing of them
    /// has happened, so they are started now.
    std::map<InvocationId, std::string> unstarted = {};
};

using Command = std::variant<
    PostMessage, CancelQueued, Hold, Resume, Stop, EditPlan, Grant, SettleChanges, CageStarted,
    CageExited, CageRecovered, PassStream, CageDenied, CageLimit, GrantFailed, Output, AgentSession,
    RequestStep, FinishStep, FinishItem, UpdatePlan, InvokeSubagent, EmitSignal, FinishInvocation,
    Recover>;

// ---- what the daemon then does ----------------------------------------------------------

struct StartAgent {
    InvocationId invocation;
    RunId run;
    std::string agent;
    std::string input;
    std::string agent_session;  ///< to load; empty: a new one
    std::vector<GrantRule> grants;
};
struct AdmitStep {
    InvocationId invocation;
    StepId step;
    std::vector<std::string> notes;
};
struct StopAgents {
    std::vector<InvocationId> invocations;
};
/// Writes the edit, if there is one, and gives the rule to cages that live or are being built.
struct ApplyGrant {
    std::int64_t granted = 0;  ///< log position of the grant
    std::string agent;
    std::vector<CageId> cages;
    GrantRule rule;
    GrantScope scope = GrantScope::once;
    std::optional<ProjectEdit> edit;
};
/// Goes on with an agent whose cage has outlived a daemon.
struct AdoptAgent {
    StartAgent start;
    Survivor survivor;
    std::map<std::string, StepId> steps;  ///< that are open, by the agent's own names
    bool stopping = false;
};
/// How the invocation ended is durable: its cage's shim may go.
struct ReleaseCage {
    InvocationId invocation;
};
/// Somebody may be waiting for this invocation's result.
struct TellFinished {
    InvocationId invocation;
};

using Effect = std::variant<
    StartAgent, AdmitStep, StopAgents, ApplyGrant, AdoptAgent, ReleaseCage, TellFinished>;

/// What a command answers; only the members that fit it are set.
struct Answer {
    SessionId session;
    RunId run;
    MessageId message;
    InvocationId invocation;
    std::int64_t seq = 0;  ///< log position that the command caused
    bool operator==(const Answer&) const = default;
};

}  // namespace volary::session
