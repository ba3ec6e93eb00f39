// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/ids.hpp"
#include "cage/denial.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace volary::agent {

/// How much of a stream of a cage has taken effect, in bytes.
struct StreamPlace {
    CageId cage;
    int stream = 0;  ///< a cage::Stream
    std::uint64_t offset = 0;
};

/// One invocation of an agent: whose word it is.
struct Origin {
    SessionId session;
    InvocationId invocation;
    std::string agent;  ///< path in the tree, e.g. "primary/scraper"
    /// With a report: what it came from, up to here; recorded together with it.
    std::optional<StreamPlace> place = {};
};

struct StepInfo {
    StepId id;
    std::string type;  ///< model, tool
    std::string name;
    std::string title;
    std::string arguments;  ///< text of one JSON object
    std::string ref = {};   ///< the agent's own name for it
};

struct StepResult {
    StepId id;
    bool ok = true;
    std::string result;
    std::int64_t duration_ms = 0;
    std::string usage;  ///< text of one JSON object, or empty
};

struct PlanItem {
    std::string id;  ///< empty: given in order
    std::string text;
    std::string status;
};

struct SignalReceipt {
    std::int64_t seq = 0;  ///< log position of the signal
};

struct SubagentAnswer {
    InvocationId invocation;
    std::string outcome;
    std::string reason;
    std::string result;
};

/// What a cage started with: for the log, and for its card.
struct CageFacts {
    std::string backend;  ///< "bwrap", "native" ...; "none" for a disabled one
    std::vector<std::string> layers;
    std::string limits_backend;
    std::string policy;  ///< dsl::cage_words_json()
    std::string limits;  ///< limit_list()
};

/// Where the agents' reports and requests go: owned by this room, implemented above it.
/// Awaitables throw Error when the session refuses. Control thread only.
class Host {
public:
    virtual ~Host() = default;

    virtual void cage_started(const Origin& origin, const CageId& cage, const CageFacts& facts) = 0;
    /// A cage of an earlier daemon: `verdict` is re-adopted or exited_while_away.
    virtual void cage_recovered(
        const Origin& origin, const CageId& cage, const std::string& verdict,
        const std::string& detail
    ) = 0;
    /// `origin.place` was passed, and nothing came of it that is worth an event.
    virtual void passed(const Origin& origin) = 0;
    virtual void cage_exited(
        const Origin& origin, const CageId& cage, const std::string& status,
        const std::string& reason
    ) = 0;
    virtual void denied(const Origin& origin, const cage::Denial& denial) = 0;
    virtual void limited(
        const Origin& origin, const CageId& cage, const std::string& limit,
        const std::string& detail
    ) = 0;
    /// An entry of the cage's network log.
    virtual void connection_closed(const Origin& origin, const cage::Connection& connection) = 0;
    /// Returns once it is durable: a cage that prints faster than the disk writes is slowed.
    virtual asio::awaitable<void> output(Origin origin, std::string stream, std::string text) = 0;
    virtual void agent_session(const Origin& origin, const std::string& id) = 0;

    virtual void stream(const Origin& origin, std::string_view kind, std::string_view text) = 0;
    virtual void end_stream(const Origin& origin) = 0;

    /// Asks for a step; its admission comes through Engine::admit(), now or after a hold.
    virtual asio::awaitable<void> request_step(Origin origin, StepInfo step) = 0;
    virtual void finish_step(const Origin& origin, const StepResult& result) = 0;

    virtual asio::awaitable<void> update_plan(Origin origin, std::vector<PlanItem> entries) = 0;
    /// The same `key` (empty: none) of the same invocation again gives the same answer.
    virtual asio::awaitable<InvocationId> invoke(
        Origin origin, std::string subagent, std::string task, std::string key
    ) = 0;
    /// Waits for an invocation that `origin` made itself; not_found for any other.
    virtual asio::awaitable<SubagentAnswer> wait(
        Origin origin, InvocationId invocation, std::chrono::milliseconds deadline
    ) = 0;
    virtual asio::awaitable<SignalReceipt> signal(
        Origin origin, std::string name, std::string data, std::string key
    ) = 0;

    /// The last word of an invocation; nothing follows.
    virtual void finished(
        const Origin& origin, const std::string& outcome, const std::string& reason,
        const std::string& result
    ) = 0;
};

}  // namespace volary::agent
