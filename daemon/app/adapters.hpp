// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/agent/host.hpp"
#include "daemon/session/manager.hpp"

namespace volary::agent {
class Engine;
}

namespace volary::app {

class GrantDesk;
class NetLog;

/// What agents report, as commands to their session.
class SessionHost final : public agent::Host {
public:
    SessionHost(session::Manager& sessions, NetLog& net) : sessions_(sessions), net_(net) {}

    void cage_started(
        const agent::Origin& origin, const CageId& cage, const agent::CageFacts& facts
    ) override;
    void cage_recovered(
        const agent::Origin& origin, const CageId& cage, const std::string& verdict,
        const std::string& detail
    ) override;
    void passed(const agent::Origin& origin) override;
    void cage_exited(
        const agent::Origin& origin, const CageId& cage, const std::string& status,
        const std::string& reason
    ) override;
    void denied(const agent::Origin& origin, const cage::Denial& denial) override;
    void limited(
        const agent::Origin& origin, const CageId& cage, const std::string& limit,
        const std::string& detail
    ) override;
    void connection_closed(const agent::Origin& origin, const cage::Connection& connection)
        override;
    asio::awaitable<void> output(agent::Origin origin, std::string stream, std::string text)
        override;
    void agent_session(const agent::Origin& origin, const std::string& id) override;
    void stream(const agent::Origin& origin, std::string_view kind, std::string_view text) override;
    void end_stream(const agent::Origin& origin) override;
    asio::awaitable<void> request_step(agent::Origin origin, agent::StepInfo step) override;
    void finish_step(const agent::Origin& origin, const agent::StepResult& result) override;
    asio::awaitable<void> update_plan(agent::Origin origin, std::vector<agent::PlanItem> entries)
        override;
    asio::awaitable<InvocationId> invoke(
        agent::Origin origin, std::string subagent, std::string task, std::string key
    ) override;
    asio::awaitable<agent::SubagentAnswer> wait(
        agent::Origin origin, InvocationId invocation, std::chrono::milliseconds deadline
    ) override;
    asio::awaitable<agent::SignalReceipt> signal(
        agent::Origin origin, std::string name, std::string data, std::string key
    ) override;
    void finished(
        const agent::Origin& origin, const std::string& outcome, const std::string& reason,
        const std::string& result
    ) override;

private:
    session::Manager& sessions_;
    NetLog& net_;
};

/// What sessions decide, carried out by the agents.
class EngineAgents final : public session::Agents {
public:
    EngineAgents(agent::Engine& engine, GrantDesk& grants) : engine_(engine), grants_(grants) {}

    void carry_out(
        const SessionId& session, const std::shared_ptr<const dsl::Project>& project,
        const session::Effect& effect
    ) override;
    void durable(const session::StreamMark& mark) override;

private:
    agent::Engine& engine_;
    GrantDesk& grants_;
};

}  // namespace volary::app
