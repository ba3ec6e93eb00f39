// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/grant.hpp"
#include "base/mailbox.hpp"
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
    std::vector<GrantRule> grants;  ///< in the policy from the start
    std::vector<GrantRule> late;    ///< granted while the cage was being built
    CagePolicy policy;              ///< of the cage, grants included

    /// Refuses every step that waits: nothing new begins.
    void close_gates() {
        for (const auto& [id, gate] : gates) {
            gate->refused = true;
            gate->changed.notify();
        }
    }
};

}  // namespace volary::agent
