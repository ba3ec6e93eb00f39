// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.hpp"
#include "daemon/agent/host.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace volary::agent {

/// A session that takes what it is told and answers what the test says.
class FakeHost final : public Host {
public:
    void cage_started(const Origin&, const CageId&, const CageFacts&) override {}
    void cage_recovered(const Origin&, const CageId&, const std::string&, const std::string&)
        override {}
    void passed(const Origin&) override {}
    void cage_exited(const Origin&, const CageId&, const std::string&, const std::string&)
        override {}
    void denied(const Origin&, const cage::Denial&) override {}
    void connection_closed(const Origin&, const cage::Connection&) override {}
    void limited(const Origin&, const CageId&, const std::string& limit, const std::string& detail)
        override {
        limits.emplace_back(limit, detail);
    }
    asio::awaitable<void> output(Origin, std::string stream, std::string text) override {
        outputs.emplace_back(std::move(stream), std::move(text));
        co_return;
    }
    void agent_session(const Origin&, const std::string&) override {}
    void stream(const Origin&, std::string_view, std::string_view) override {}
    void end_stream(const Origin&) override {}
    asio::awaitable<void> request_step(Origin, StepInfo) override { co_return; }
    void finish_step(const Origin&, const StepResult&) override {}
    void finished(const Origin&, const std::string&, const std::string&, const std::string&)
        override {}

    asio::awaitable<void> update_plan(Origin origin, std::vector<PlanItem> entries) override {
        refuse_if_told();
        who = std::move(origin);
        plans.push_back(std::move(entries));
        co_return;
    }

    asio::awaitable<InvocationId> invoke(
        Origin origin, std::string subagent, std::string task, std::string key
    ) override {
        refuse_if_told();
        who = std::move(origin);
        invoked.emplace_back(std::move(subagent), std::move(task));
        keys.push_back(std::move(key));
        co_return InvocationId("inv_child");
    }

    asio::awaitable<SubagentAnswer> wait(
        Origin, InvocationId invocation, std::chrono::milliseconds deadline
    ) override {
        deadlines.push_back(deadline);
        refuse_if_told();
        if (timeouts > 0) {
            --timeouts;
            throw Error(Errc::timeout, "still works");
        }
        if (!answer) throw Error(Errc::timeout, "still works");
        auto found = *answer;
        found.invocation = std::move(invocation);
        co_return found;
    }

    asio::awaitable<SignalReceipt> signal(
        Origin origin, std::string name, std::string data, std::string key
    ) override {
        refuse_if_told();
        who = std::move(origin);
        signals.emplace_back(std::move(name), std::move(data));
        keys.push_back(std::move(key));
        co_return SignalReceipt{12};
    }

    std::optional<Error> refusal;  ///< what the session says to the next acts
    std::optional<SubagentAnswer> answer;
    int timeouts = 0;  ///< waits that find the subagent still working
    Origin who;
    std::vector<std::vector<PlanItem>> plans;
    std::vector<std::pair<std::string, std::string>> invoked;
    std::vector<std::pair<std::string, std::string>> signals;
    std::vector<std::string> keys;  ///< of invocations and signals
    std::vector<std::pair<std::string, std::string>> outputs;
    std::vector<std::pair<std::string, std::string>> limits;
    std::vector<std::chrono::milliseconds> deadlines;

private:
    void refuse_if_told() const {
        if (refusal) throw Error(*refusal);
    }
};

}  // namespace volary::agent
