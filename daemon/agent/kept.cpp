// SPDX-License-Identifier: Apache-2.0
// Cages that outlived a daemon: found, adopted, released (docs/shim.md).
#include "daemon/agent/kept.hpp"

#include "base/error.hpp"
#include "base/json.hpp"
#include "base/log.hpp"
#include "cage/cage.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::agent {
namespace {

constexpr JsonLimits kOwner{std::size_t{2} << 20U, 4};

}  // namespace

std::string owner_text(const std::string& history, const Origin& origin, const std::string& input) {
    const Json doc = {
        {"history", history},
        {"session", origin.session.str()},
        {"invocation", origin.invocation.str()},
        {"agent", origin.agent},
        {"input", input}
    };
    return dump_json(doc);
}

std::optional<Owner> parse_owner(const std::string& text) {
    const auto doc = parse_json(text, kOwner);
    if (!doc || !doc->is_object()) return std::nullopt;
    Owner out;
    out.origin.session = SessionId(string_or(*doc, "session"));
    out.origin.invocation = InvocationId(string_or(*doc, "invocation"));
    out.origin.agent = string_or(*doc, "agent");
    out.input = string_or(*doc, "input");
    out.history = string_or(*doc, "history");
    if (out.origin.invocation.empty()) return std::nullopt;
    return out;
}

asio::awaitable<std::map<InvocationId, CageId>> Engine::find_kept() {
    std::map<InvocationId, CageId> out;
    if (paths_.shims.empty()) co_return out;
    auto found = co_await spawner_.find_kept(paths_.shims);
    for (auto& one : found) {
        auto owner = parse_owner(one->record.owner);
        // A database that was put back knows nothing of what came after it.
        const bool ours = owner && owner->history == paths_.history && one->state.started;
        if (!ours) {
            spawner_.dismiss(std::move(one));
            continue;
        }
        out[owner->origin.invocation] = one->record.id;
        kept_[owner->origin.invocation] =
            std::make_shared<Kept>(Kept{std::move(one), std::move(owner->input)});
    }
    co_return out;
}

void Engine::dismiss_rest() {
    for (auto& [invocation, kept] : std::exchange(kept_, {}))
        spawner_.dismiss(std::move(kept->found));
}

void Engine::adopt(StartRequest request, ResumeFacts facts) {
    auto worker = std::make_shared<Worker>(executor_, std::move(request.origin));
    worker->project = std::move(request.project);
    worker->agent = dsl::find_agent(*worker->project, worker->origin.agent);
    worker->grants = std::move(request.grants);
    worker->stopping = facts.stopping;
    if (facts.stopping) worker->stop_reason = "stopped by the operator";
    auto kept = kept_.extract(worker->origin.invocation);
    // What the project has no agent for any more stays among those that nobody wants.
    if (!kept.empty() && worker->agent == nullptr) {
        kept_.insert(std::move(kept));
    } else if (!kept.empty()) {
        worker->cage_id = kept.mapped()->found->record.id;
        worker->input = kept.mapped()->input;
        adopting_.insert(std::move(kept));
    }
    worker->resume = std::move(facts);
    launch(std::move(worker));
}

asio::awaitable<void> Engine::take_cage(Worker& worker) {
    const auto kept = adopting_.extract(worker.origin.invocation);
    if (kept.empty()) {
        if (worker.resume) throw Error(Errc::internal, "its cage was not found again");
        auto request = spawn_request(worker);
        worker.policy = request.policy;
        worker.cage = co_await spawner_.spawn(std::move(request));
        tell_started(worker);
        co_return;
    }
    auto found = kept.mapped()->found;
    try {
        worker.cage = spawner_.adopt(found);
    } catch (const Error& error) {
        host_.cage_recovered(worker.origin, worker.cage_id, "lost", error.what());
        throw;
    }
    auto& cage = *worker.cage;
    for (const auto stream : {cage::Stream::out, cage::Stream::err, cage::Stream::signals}) {
        const auto index = static_cast<std::size_t>(stream);
        // An agent is heard again from the first request that nobody has answered.
        const bool whole =
            stream == cage::Stream::out && worker.agent->runner.kind != dsl::Runner::Kind::exec;
        const auto base = found->state.streams[index].base;
        cage.start_at(stream, whole ? base : std::max(base, worker.applied(stream)));
    }
    const auto alone = fmt::format(
        "{} ms without a daemon", cage.alone().value_or(std::chrono::milliseconds(0)).count()
    );
    if (cage.ended_alone())
        host_.cage_recovered(worker.origin, worker.cage_id, "exited_while_away", alone);
    else
        host_.cage_recovered(worker.origin, worker.cage_id, "re-adopted", alone);
    // What was allowed while it lived is allowed again, at the addresses that it remembers.
    for (const auto& grant : worker.grants) {
        const auto* net = std::get_if<NetRule>(&grant);
        if (net == nullptr || cage.ended_alone()) continue;
        try {
            co_await gatekeeper_.allow(worker.cage_id, *net);
        } catch (const Error& error) {
            log::warning(
                "a grant could not be given again",
                {{"cage", worker.cage_id.str()}, {"error", error.what()}}
            );
        }
    }
}

void Engine::release(const InvocationId& invocation) {
    const auto ended = ended_.extract(invocation);
    if (!ended.empty() && ended.mapped()) ended.mapped()->release();
}

bool Engine::is_live(const InvocationId& invocation) const {
    return workers_.contains(invocation) || ended_.contains(invocation);
}

void Engine::durable(const StreamPlace& place) {
    const auto* worker = find(place.cage);
    if (worker != nullptr) worker->forget(place);
}

}  // namespace volary::agent
