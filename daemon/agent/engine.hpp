// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "base/clock.hpp"
#include "base/task_scope.hpp"
#include "base/unique_fd.hpp"
#include "daemon/agent/mcp.hpp"
#include "daemon/agent/worker.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace volary::cage {
class Spawner;
struct SpawnRequest;
}  // namespace volary::cage
namespace volary::http {
class Router;
class Server;
struct Request;
struct Response;
}  // namespace volary::http
namespace volary::model {
class Broker;
}

namespace volary::agent {

struct EnginePaths {
    std::string agent_program;  ///< volary-agent on the host
    std::string homes;          ///< folder of the homes that are kept
    std::string layers;         ///< folder of the layers of `cow` entries
    /// No cage is started beyond it, whoever made its policy.
    CageCeiling ceiling = {};
};

struct StartRequest {
    Origin origin;
    std::shared_ptr<const dsl::Project> project;
    std::string input;
    std::string agent_session;  ///< to load; empty: a new one
};

/// What the cage card of the API shows of a live cage.
struct CageCard {
    CageId cage;
    Origin origin;
    std::vector<std::string> layers;
    std::string limits_backend;
    std::vector<int> pids;
    std::map<std::string, NetUse> net;
    std::vector<DenialRecord> denials;
};

/// Runs agents: a cage, a driver and the internal names for each invocation. Owns no session
/// state: what happens goes to the Host, and what may happen next comes back as calls.
/// Lives on the control thread; `close()` before destruction.
class Engine {
public:
    Engine(
        asio::any_io_executor executor, cage::Spawner& spawner, model::Broker& broker, Host& host,
        const Clock& clock, EnginePaths paths
    );
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Starts an invocation; how it goes, and that it ended, is told to the Host.
    void start(StartRequest request);

    /// Lets a step that was asked for go on.
    void admit(const InvocationId& invocation, const StepId& step, std::vector<std::string> notes);

    /// Cancels, then TERM, grace, KILL to the whole cage; each invocation then ends as stopped.
    void stop(const std::vector<InvocationId>& invocations, std::string reason);

    // What the gatekeeper and the spawner tell of a cage.
    void internal(const CageId& cage, const std::string& name, UniqueFd connection);
    void denied(const cage::Denial& denial);
    void limited(const CageId& cage, const std::string& limit, const std::string& detail);
    void connection_closed(const cage::Connection& connection);

    std::vector<CageCard> cages(const SessionId& session) const;
    std::size_t live() const noexcept { return workers_.size(); }

    /// Stops every invocation and waits for the last.
    asio::awaitable<void> close();

private:
    using WorkerPtr = std::shared_ptr<Worker>;

    asio::awaitable<void> work(WorkerPtr worker);
    asio::awaitable<Ending> drive(Worker& worker);
    asio::awaitable<void> bring_down(WorkerPtr worker);
    asio::awaitable<http::Response> ask_broker(http::Request& request);
    asio::awaitable<http::Response> ask_tools(http::Request& request);
    cage::SpawnRequest spawn_request(const Worker& worker) const;
    Worker* find(const CageId& cage) const;
    void add_routes();

    asio::any_io_executor executor_;
    cage::Spawner& spawner_;
    model::Broker& broker_;
    Host& host_;
    const Clock& clock_;
    EnginePaths paths_;
    McpServer mcp_;
    std::map<InvocationId, WorkerPtr> workers_;
    std::unique_ptr<http::Router> router_;
    std::unique_ptr<http::Server> server_;
    Notifier emptied_;
    TaskScope scope_;
};

}  // namespace volary::agent
