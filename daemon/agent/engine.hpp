// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "base/clock.hpp"
#include "base/grant.hpp"
#include "base/task_scope.hpp"
#include "base/unique_fd.hpp"
#include "daemon/agent/mcp.hpp"
#include "daemon/agent/worker.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace volary::cage {
class Cage;
class Gatekeeper;
class Spawner;
struct KeepCage;
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
    std::string shims;          ///< folder of the sockets of cages that outlive the daemon
    std::chrono::seconds orphan_ttl{3600};  ///< how long they go on without one
    std::string history;  ///< which log they belong to: cages of another are not adopted
    /// No cage is started beyond it, whoever made its policy.
    CageCeiling ceiling = {};
};

struct StartRequest {
    Origin origin;
    std::shared_ptr<const dsl::Project> project;
    std::string input;
    std::string agent_session;      ///< to load; empty: a new one
    std::vector<GrantRule> grants;  ///< what the operator allows beyond the policy
};

/// A rule for cages that live already.
struct LiveGrant {
    SessionId session;
    std::string agent;
    std::vector<CageId> cages;
    GrantRule rule;
    bool lasts = false;  ///< also for cages of the agent that are just being built
};

/// A folder with the `cow` layers of one agent, for cage::list_changes() and its like.
struct LayerFolder {
    std::string agent;  ///< path in the tree
    std::string path;
};

/// What a live cage takes now; see limit_list() for what it may.
struct LiveUse {
    CageId cage;
    std::map<std::string, double> limits;  ///< "memory", "pids" ... in the units of limit_list()
};

/// A port that a live cage publishes.
struct PortCard {
    CageId cage;
    std::string agent;
    PublishedPort port;
    bool listening = false;
};

/// Runs agents: a cage, a driver and the internal names for each invocation. Owns no session
/// state: what happens goes to the Host, and what may happen next comes back as calls.
/// Lives on the control thread; `close()` before destruction.
class Engine {
public:
    Engine(
        const asio::any_io_executor& executor, cage::Spawner& spawner, cage::Gatekeeper& gatekeeper,
        model::Broker& broker, Host& host, const Clock& clock, EnginePaths paths
    );
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Starts an invocation; how it goes, and that it ended, is told to the Host.
    void start(StartRequest request);

    /// Looks for cages that an earlier daemon left; gives their invocations.
    asio::awaitable<std::map<InvocationId, CageId>> find_kept();
    /// Goes on with one of them, or tells the Host why that cannot be.
    void adopt(StartRequest request, ResumeFacts facts);
    /// Ends those that nobody has adopted.
    void dismiss_rest();
    /// How the invocation ended is durable.
    void release(const InvocationId& invocation);
    /// What a stream of a cage said up to there took effect and is durable.
    void durable(const StreamPlace& place);

    /// Something works on it, or has ended it and waits until that is durable.
    bool is_live(const InvocationId& invocation) const;

    /// Lets a step that was asked for go on.
    void admit(const InvocationId& invocation, const StepId& step, std::vector<std::string> notes);

    /// Cancels, then TERM, grace, KILL to the whole cage; each invocation then ends as stopped.
    void stop(const std::vector<InvocationId>& invocations, const std::string& reason);

    // What the gatekeeper and the spawner tell of a cage.
    void internal(const CageId& cage, const std::string& name, UniqueFd connection);
    void denied(const cage::Denial& denial);
    void limited(const CageId& cage, const std::string& limit, const std::string& detail);
    void connection_closed(const cage::Connection& connection);

    /// Gives the rule to those of the cages that still live. Throws Error: conflict when none of
    /// them does and the rule does not last; unavailable with the words "at the next start" when
    /// this host cannot change a live cage that way.
    asio::awaitable<void> allow(LiveGrant grant);

    /// Of the cages of a session that live now.
    std::vector<LiveUse> use(const SessionId& session) const;
    /// What a cage that lives or ended a moment ago used of the network; zeros for any other.
    cage::NetUse network(const CageId& cage) const;
    /// The network log of a cage that lives or ended a moment ago, open connections first.
    std::vector<cage::Connection> connections(const CageId& cage) const;
    /// Where the changes of a session's agents lie.
    std::vector<LayerFolder> layers(const SessionId& session, const dsl::Project& project) const;

    /// What the live cages of a session publish, newest cage first.
    std::vector<PortCard> ports(const SessionId& session) const;
    /// A connection to a published port: see cage::Cage::connect(). Throws Error{not_found} when
    /// the cage has ended.
    asio::awaitable<UniqueFd> connect(CageId cage, std::uint16_t port);
    std::size_t live() const noexcept { return workers_.size(); }

    /// Stops every invocation and waits for the last.
    asio::awaitable<void> close();

private:
    using WorkerPtr = std::shared_ptr<Worker>;

    asio::awaitable<void> work(WorkerPtr worker);
    asio::awaitable<Ending> drive(Worker& worker);
    asio::awaitable<void> take_cage(Worker& worker);
    void launch(WorkerPtr worker);
    asio::awaitable<void> bring_down(WorkerPtr worker);
    asio::awaitable<http::Response> ask_broker(http::Request& request);
    asio::awaitable<http::Response> ask_tools(http::Request& request);
    cage::SpawnRequest spawn_request(const Worker& worker) const;
    cage::KeepCage keep_request(const Worker& worker) const;
    asio::awaitable<void> allow_one(std::shared_ptr<cage::Cage> cage, GrantRule rule);
    asio::awaitable<void> allow_late(Worker& worker);
    void tell_started(const Worker& worker);
    Worker* find(const CageId& cage) const;
    void add_routes();

    asio::any_io_executor executor_;
    cage::Spawner& spawner_;
    cage::Gatekeeper& gatekeeper_;
    model::Broker& broker_;
    Host& host_;
    const Clock& clock_;
    EnginePaths paths_;
    McpServer mcp_;
    std::map<InvocationId, WorkerPtr> workers_;
    struct Kept;
    std::map<InvocationId, std::shared_ptr<Kept>> kept_;         ///< found, and nobody's yet
    std::map<InvocationId, std::shared_ptr<Kept>> adopting_;     ///< their workers have begun
    std::map<InvocationId, std::shared_ptr<cage::Cage>> ended_;  ///< until that is durable
    std::unique_ptr<http::Router> router_;
    std::unique_ptr<http::Server> server_;
    Notifier emptied_;
    TaskScope scope_;
};

}  // namespace volary::agent
