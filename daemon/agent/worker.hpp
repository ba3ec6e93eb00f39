// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/grant.hpp"
#include "base/mailbox.hpp"
#include "cage/streams.hpp"
#include "daemon/agent/host.hpp"
#include "dsl/project.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace volary::cage {
class Cage;
}

namespace volary::agent {

/// How an invocation ended.
struct Ending {
    std::string outcome;  ///< succeeded, failed, stopped
    std::string reason;
    std::string result;
};

/// Where one step waits until the run admits it.
struct Gate {
    explicit Gate(const asio::any_io_executor& executor) : changed(executor) {}

    bool admitted = false;
    bool refused = false;
    std::vector<std::string> notes;
    Notifier changed;
};

/// What the log knows of an invocation whose cage outlived a daemon.
struct ResumeFacts {
    std::map<int, std::uint64_t> applied;  ///< by stream: how much of it took effect
    std::map<std::string, StepId> steps;   ///< that are open, by the agent's own names
    std::string last_text;                 ///< its newest message
    std::string tail;                      ///< of its standard output
    bool stopping = false;
};

/// One live invocation: its cage, its gates and what the cage card shows. Control thread only.
struct Worker {
    Worker(const asio::any_io_executor& executor, Origin whose)
        : origin(std::move(whose)), ended(executor) {}

    Origin origin;
    std::shared_ptr<const dsl::Project> project;
    const dsl::Agent* agent = nullptr;  ///< in `project`
    std::string input;
    std::string agent_session;
    CageId cage_id;
    std::shared_ptr<cage::Cage> cage;
    std::map<StepId, std::shared_ptr<Gate>> gates;
    std::function<void()> cancel;  ///< asks the agent to end its turn; empty: it cannot be asked
    bool stopping = false;
    std::string stop_reason;
    bool done = false;
    Notifier ended;
    std::vector<GrantRule> grants;      ///< in the policy from the start
    std::vector<GrantRule> late;        ///< granted while the cage was being built
    CagePolicy policy;                  ///< of the cage, grants included
    std::optional<ResumeFacts> resume;  ///< of an adopted one
    /// What took effect is durable; set by the driver, called with a stream and a place in it.
    std::function<void(cage::Stream, std::uint64_t)> on_durable;

    StreamPlace place(cage::Stream stream, std::uint64_t offset) const {
        return {cage_id, static_cast<int>(stream), offset};
    }
    /// Up to there nobody needs the stream again.
    void forget(const StreamPlace& place) const {
        if (on_durable) on_durable(static_cast<cage::Stream>(place.stream), place.offset);
    }
    std::uint64_t applied(cage::Stream stream) const {
        if (!resume) return 0;
        const auto found = resume->applied.find(static_cast<int>(stream));
        return found == resume->applied.end() ? 0 : found->second;
    }

    /// Refuses every step that waits: nothing new begins.
    void close_gates() {
        for (const auto& [id, gate] : gates) {
            gate->refused = true;
            gate->changed.notify();
        }
    }
};

}  // namespace volary::agent
