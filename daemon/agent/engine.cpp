// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/engine.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "cage/cage.hpp"
#include "cage/compiler.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/spawner.hpp"
#include "daemon/agent/cage_card.hpp"
#include "daemon/agent/drivers.hpp"
#include "daemon/agent/kept.hpp"
#include "daemon/agent/places.hpp"
#include "daemon/http/router.hpp"
#include "daemon/http/server.hpp"
#include "daemon/model/broker.hpp"
#include "dsl/load.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::agent {
namespace {

using std::chrono::milliseconds;

// Time for a turn to end by itself after session/cancel, then from TERM to KILL: together they
// stay below what a person takes for "it does not stop".
constexpr milliseconds kCancelGrace{700};
constexpr milliseconds kTermGrace{2000};
// An agent whose turn is over has nothing left to do but to exit.
constexpr milliseconds kExitGrace{300};

constexpr const char* kBrokerName = "models.volary.internal";
constexpr const char* kToolsName = "volary.internal";
constexpr const char* kAgentInCage = "/opt/volary/volary-agent";

Ending from_exit(const cage::CageExit& exit, std::string result) {
    if (exit.reason != "exited" && exit.reason != "stopped")
        return {"failed", "ended by its limit: " + exit.reason, std::move(result)};
    if (exit.status.ok()) return {"succeeded", "", std::move(result)};
    return {"failed", to_string(exit.status), std::move(result)};
}

http::Response not_found(const std::string& what) {
    return http::Response::error(404, Errc::not_found, what);
}

}  // namespace

Engine::Engine(
    const asio::any_io_executor& executor, cage::Spawner& spawner, cage::Gatekeeper& gatekeeper,
    model::Broker& broker, Host& host, const Clock& clock, EnginePaths paths
)
    : executor_(executor),
      spawner_(spawner),
      gatekeeper_(gatekeeper),
      broker_(broker),
      host_(host),
      clock_(clock),
      paths_(std::move(paths)),
      mcp_(host),
      router_(std::make_unique<http::Router>()),
      emptied_(executor),
      scope_(executor, log_task_errors()) {
    add_routes();
    http::ServerOptions options;
    // An agent's tool call may last as long as another agent works.
    options.close_deadline = milliseconds(500);
    server_ = std::make_unique<http::Server>(executor, *router_, http::Guard(), options);
}

Engine::~Engine() = default;

void Engine::add_routes() {
    constexpr std::size_t kMaxModelBody = std::size_t{32} << 20U;  // images in a conversation
    http::RouteOptions large;
    large.max_body = kMaxModelBody;
    auto to_broker = [this](http::Request& request) { return ask_broker(request); };
    auto to_tools = [this](http::Request& request) { return ask_tools(request); };
    router_->add("POST", "/anthropic/v1/messages", http::AsyncHandler(to_broker), large);
    router_->add("GET", "/anthropic/v1/models", http::AsyncHandler(to_broker));
    router_->add("POST", "/mcp", http::AsyncHandler(to_tools), large);
}

asio::awaitable<http::Response> Engine::ask_broker(http::Request& request) {
    const auto* worker = find(CageId(request.peer.cage));
    if (worker == nullptr || request.peer.service != kBrokerName)
        co_return not_found("no model service here");
    const model::Caller caller{
        worker->origin.session, worker->origin.invocation, worker->origin.agent,
        worker->agent->models
    };
    // The connection keeps the request for the next one; only the body is large.
    auto body = std::exchange(request.body, {});
    auto copy = request;
    copy.body = std::move(body);
    co_return co_await broker_.handle(std::move(copy), caller);
}

asio::awaitable<http::Response> Engine::ask_tools(http::Request& request) {
    const auto* worker = find(CageId(request.peer.cage));
    if (worker == nullptr || request.peer.service != kToolsName)
        co_return not_found("no tools here");
    // The project must outlive the call even if the worker ends meanwhile.
    const auto project = worker->project;
    const auto& agent = *worker->agent;
    co_return co_await mcp_.handle(std::move(request.body), worker->origin, agent);
}

void Engine::start(StartRequest request) {
    auto worker = std::make_shared<Worker>(executor_, std::move(request.origin));
    worker->project = std::move(request.project);
    worker->agent = dsl::find_agent(*worker->project, worker->origin.agent);
    worker->input = std::move(request.input);
    worker->agent_session = std::move(request.agent_session);
    worker->grants = std::move(request.grants);
    worker->cage_id = CageId::make(clock_);
    launch(std::move(worker));
}

void Engine::launch(WorkerPtr worker) {
    if (scope_.closing() || worker->agent == nullptr) {
        const auto* why = worker->agent == nullptr ? "the project has no such agent any more"
                                                   : "the daemon stops";
        host_.finished(worker->origin, "failed", why, "");
        return;
    }
    workers_.emplace(worker->origin.invocation, worker);
    scope_.spawn("invocation " + worker->origin.invocation.str(), work(worker));
}

asio::awaitable<void> Engine::work(WorkerPtr worker) {
    Ending ending;
    try {
        ending = co_await drive(*worker);
    } catch (const Error& error) {
        ending = {"failed", error.what(), ""};
    }
    worker->close_gates();
    host_.end_stream(worker->origin);
    if (worker->stopping && ending.outcome != "succeeded") {
        ending.outcome = "stopped";
        ending.reason = worker->stop_reason;
    }
    worker->done = true;
    worker->ended.notify();
    workers_.erase(worker->origin.invocation);
    ended_[worker->origin.invocation] = worker->cage;
    host_.finished(worker->origin, ending.outcome, ending.reason, ending.result);
    if (workers_.empty()) emptied_.notify();
}

asio::awaitable<Ending> Engine::drive(Worker& worker) {
    co_await take_cage(worker);
    co_await allow_late(worker);
    const bool speaks_acp = worker.agent->runner.kind == dsl::Runner::Kind::builtin;
    auto driver = speaks_acp ? make_acp_driver(executor_, worker, host_, clock_)
                             : make_exec_driver(executor_, worker, host_);
    std::optional<Ending> ending;
    std::string failure;
    try {
        if (!worker.stopping) ending = co_await driver->run();
    } catch (const Error& error) {
        failure = error.what();
    }
    auto result = driver->result();
    if (ending || !failure.empty() || worker.stopping) co_await worker.cage->stop(kExitGrace);
    const auto exit = co_await worker.cage->wait();
    co_await driver->close();
    host_.cage_exited(worker.origin, worker.cage_id, to_string(exit.status), exit.reason);
    if (ending) co_return *ending;
    if (failure.empty()) co_return from_exit(exit, std::move(result));
    if (exit.reason != "exited" && exit.reason != "stopped")
        co_return from_exit(exit, std::move(result));
    co_return Ending{"failed", failure, std::move(result)};
}

namespace {

/// The project was refused when it was loaded; this holds what was made or changed since.
void hold_to_ceiling(CagePolicy& policy, const CageCeiling& ceiling) {
    fill_limits(policy.limits, ceiling);
    const auto problems = exceeding(policy, ceiling);
    if (problems.empty()) return;
    throw Error(Errc::denied, "the cage exceeds the host's ceiling: " + problems.front());
}

bool can_be_bound(const FsRule& rule) {
    try {
        (void)cage::open_sources({{rule.source, rule.root, "a grant"}});
    } catch (const Error&) {
        return false;
    }
    return true;
}

}  // namespace

void Engine::tell_started(const Worker& worker) {
    const auto& report = worker.cage->report();
    const auto backend = worker.policy.disabled ? "none" : to_string(worker.policy.backend);
    host_.cage_started(
        worker.origin, worker.cage_id,
        {std::string(backend), report.layers, report.limits_backend,
         dsl::cage_words_json(worker.policy), limit_list(worker.policy.limits)}
    );
}

cage::KeepCage Engine::keep_request(const Worker& worker) const {
    cage::KeepCage keep;
    keep.folder = paths_.shims;
    keep.orphan_ttl = paths_.orphan_ttl;
    keep.owner = owner_text(paths_.history, worker.origin, worker.input);
    // A program's output may lose its oldest part; a protocol must not.
    keep.lossy_output = worker.agent->runner.kind == dsl::Runner::Kind::exec;
    return keep;
}

cage::SpawnRequest Engine::spawn_request(const Worker& worker) const {
    const auto& agent = *worker.agent;
    cage::SpawnRequest request;
    request.id = worker.cage_id;
    request.policy = agent.cage;
    hold_to_ceiling(request.policy, paths_.ceiling);
    for (const auto& grant : worker.grants) {
        // A granted folder that was removed or swapped for a link since, or a ceiling that has come
        // down, must not keep the agent from starting: it starts without.
        const auto* fs = std::get_if<FsRule>(&grant);
        if (fs != nullptr && !can_be_bound(*fs)) continue;
        auto wider = request.policy;
        add_to(wider, grant);
        if (exceeding(wider, paths_.ceiling).empty()) request.policy = std::move(wider);
    }
    if (!paths_.shims.empty() && !request.policy.disabled) request.keep = keep_request(worker);
    request.working_directory = "/workspace";
    request.internal_names = {kToolsName, kBrokerName};
    if (agent.runner.kind == dsl::Runner::Kind::builtin) {
        if (agent.cage.disabled)
            throw Error(
                Errc::invalid, agent.path +
                                   " is builtin and has no cage: its models and tools come "
                                   "through the cage's network; remove `cage: disabled`"
            );
        request.argv = {kAgentInCage};
        request.extra_binds.push_back(
            {.source = paths_.agent_program, .mode = FsMode::ro, .target = kAgentInCage}
        );
    } else {
        request.argv = agent.runner.argv;
        request.signal_pipe = true;
    }
    const PlaceKey key{
        worker.origin.session, worker.project->root, worker.origin.agent, agent.cage.state
    };
    request.kept_home = home_place(paths_.homes, key);
    const auto layered = [](const FsRule& rule) { return rule.mode == FsMode::cow; };
    if (std::any_of(agent.cage.fs.begin(), agent.cage.fs.end(), layered))
        request.layers_folder = layers_place(paths_.layers, key);
    return request;
}

void Engine::admit(
    const InvocationId& invocation, const StepId& step, std::vector<std::string> notes
) {
    const auto worker = workers_.find(invocation);
    if (worker == workers_.end()) return;
    const auto gate = worker->second->gates.find(step);
    if (gate == worker->second->gates.end()) return;
    gate->second->notes = std::move(notes);
    gate->second->admitted = true;
    gate->second->changed.notify();
}

void Engine::stop(const std::vector<InvocationId>& invocations, const std::string& reason) {
    for (const auto& id : invocations) {
        const auto found = workers_.find(id);
        if (found == workers_.end() || found->second->stopping) continue;
        found->second->stopping = true;
        found->second->stop_reason = reason;
        scope_.spawn("stop " + id.str(), bring_down(found->second));
    }
}

asio::awaitable<void> Engine::bring_down(WorkerPtr worker) {
    worker->close_gates();
    if (worker->cancel) {
        worker->cancel();
        const auto until = std::chrono::steady_clock::now() + kCancelGrace;
        while (!worker->done && std::chrono::steady_clock::now() < until)
            co_await worker->ended.wait_until(until);
    }
    // A cage that is only just being built is stopped by its own worker.
    if (!worker->done && worker->cage) co_await worker->cage->stop(kTermGrace);
}

void Engine::internal(const CageId& cage, const std::string& name, UniqueFd connection) {
    if (find(cage) == nullptr || scope_.closing()) return;
    http::Peer peer;
    peer.kind = http::Peer::Kind::cage;
    peer.listener = "cage";
    peer.cage = cage.str();
    peer.service = name;
    server_->serve(std::move(connection), std::move(peer));
}

Worker* Engine::find(const CageId& cage) const {
    for (const auto& [id, worker] : workers_) {
        if (worker->cage_id == cage) return worker.get();
    }
    return nullptr;
}

void Engine::denied(const cage::Denial& denial) {
    const auto* worker = find(denial.cage);
    if (worker != nullptr) host_.denied(worker->origin, denial);
}

void Engine::limited(const CageId& cage, const std::string& limit, const std::string& detail) {
    const auto* worker = find(cage);
    if (worker != nullptr) host_.limited(worker->origin, cage, limit, detail);
}

void Engine::connection_closed(const cage::Connection& connection) {
    const auto* worker = find(connection.cage);
    if (worker != nullptr) host_.connection_closed(worker->origin, connection);
}

asio::awaitable<void> Engine::allow(LiveGrant grant) {
    std::vector<std::shared_ptr<cage::Cage>> cages;
    for (const auto& [id, worker] : workers_) {
        if (worker->origin.session != grant.session || worker->origin.agent != grant.agent)
            continue;
        const auto& meant = grant.cages;
        const bool named = std::find(meant.begin(), meant.end(), worker->cage_id) != meant.end();
        if (!worker->cage && grant.lasts)
            worker->late.push_back(grant.rule);
        else if (named && worker->cage && worker->cage->running())
            cages.push_back(worker->cage);
    }
    if (cages.empty() && !grant.lasts) throw Error(Errc::conflict, "the cage has ended");
    std::optional<Error> failure;
    for (const auto& cage : cages) {
        try {
            co_await allow_one(cage, grant.rule);
        } catch (const Error& error) {
            failure = error;
        }
    }
    // The others have it all the same.
    if (failure) throw Error(*failure);
}

asio::awaitable<void> Engine::allow_one(std::shared_ptr<cage::Cage> cage, GrantRule rule) {
    if (auto* net = std::get_if<NetRule>(&rule))
        co_await gatekeeper_.allow(cage->id(), std::move(*net));
    else
        co_await cage->add_bind(std::move(std::get<FsRule>(rule)));
}

asio::awaitable<void> Engine::allow_late(Worker& worker) {
    auto rules = std::exchange(worker.late, {});
    for (const auto& rule : rules) {
        try {
            co_await allow_one(worker.cage, rule);
        } catch (const Error& error) {
            // It is in the log and holds for the next cage; this one lives without it.
            log::warning(
                "a grant came too late for a cage",
                {{"cage", worker.cage_id.str()}, {"error", error.what()}}
            );
        }
    }
}

std::vector<LayerFolder> Engine::layers(const SessionId& session, const dsl::Project& project)
    const {
    std::vector<LayerFolder> out;
    std::vector<const dsl::Agent*> left{&project.primary};
    while (!left.empty()) {
        const auto* agent = left.back();
        left.pop_back();
        for (const auto& child : agent->subagents) left.push_back(&child);
        const PlaceKey key{session, project.root, agent->path, agent->cage.state};
        for (auto& path : layers_places(paths_.layers, key))
            out.push_back({agent->path, std::move(path)});
    }
    return out;
}

std::vector<LiveUse> Engine::use(const SessionId& session) const {
    std::vector<LiveUse> out;
    for (const auto& [id, worker] : workers_) {
        if (worker->origin.session != session || !worker->cage) continue;
        out.push_back({worker->cage_id, limit_use(worker->cage->use())});
    }
    return out;
}

std::vector<PortCard> Engine::ports(const SessionId& session) const {
    std::vector<const Worker*> live;
    for (const auto& [id, worker] : workers_)
        if (worker->origin.session == session && worker->cage) live.push_back(worker.get());
    // Ids begin with their time.
    std::ranges::sort(live, std::greater(), [](const Worker* one) { return one->cage_id.str(); });
    std::vector<PortCard> out;
    for (const auto* worker : live) {
        for (const auto& port : worker->cage->ports())
            out.push_back(
                {worker->cage_id, worker->origin.agent, port, worker->cage->listens(port.port)}
            );
    }
    return out;
}

cage::NetUse Engine::network(const CageId& cage) const { return gatekeeper_.use(cage); }

std::vector<cage::Connection> Engine::connections(const CageId& cage) const {
    return gatekeeper_.connections(cage);
}

asio::awaitable<UniqueFd> Engine::connect(CageId cage, std::uint16_t port) {
    const auto* worker = find(cage);
    if (worker == nullptr || !worker->cage) throw Error(Errc::not_found, "the cage has ended");
    // Held here: the worker may end while the connection is made.
    const auto held = worker->cage;
    co_return co_await held->connect(port);
}

asio::awaitable<void> Engine::close() {
    std::vector<InvocationId> all;
    all.reserve(workers_.size());
    for (const auto& [id, worker] : workers_) all.push_back(id);
    stop(all, "the daemon stopped");
    while (!workers_.empty()) co_await emptied_.wait();
    co_await server_->close();
    co_await scope_.close();
}

}  // namespace volary::agent
