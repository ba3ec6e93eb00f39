// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/adapters.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/app/grant_desk.hpp"
#include "daemon/app/net_log.hpp"

namespace volary::app {
namespace {

std::string actor_of(const agent::Origin& origin) { return "agent:" + origin.agent; }

std::optional<session::StreamMark> mark_of(const agent::Origin& origin) {
    if (!origin.place) return std::nullopt;
    return session::StreamMark{origin.place->cage, origin.place->stream, origin.place->offset};
}

constexpr const char* kDaemon = "daemon";

}  // namespace

void SessionHost::cage_started(
    const agent::Origin& origin, const CageId& cage, const agent::CageFacts& facts
) {
    session::CageStarted report{origin.invocation, cage,         facts.layers, facts.limits_backend,
                                facts.backend,     facts.policy, facts.limits};
    sessions_.tell(origin.session, kDaemon, std::move(report));
}

void SessionHost::cage_recovered(
    const agent::Origin& origin, const CageId& cage, const std::string& verdict,
    const std::string& detail
) {
    session::CageRecovered report{origin.invocation, cage, verdict, detail};
    sessions_.tell(origin.session, kDaemon, std::move(report));
}

void SessionHost::passed(const agent::Origin& origin) {
    sessions_.tell(origin.session, kDaemon, session::PassStream{}, mark_of(origin));
}

void SessionHost::cage_exited(
    const agent::Origin& origin, const CageId& cage, const std::string& status,
    const std::string& reason
) {
    session::CageExited report{origin.invocation, cage, status, reason};
    sessions_.tell(origin.session, kDaemon, std::move(report));
}

void SessionHost::denied(const agent::Origin& origin, const cage::Denial& denial) {
    session::CageDenied report{origin.invocation, denial.cage,    denial.layer, denial.what,
                               denial.rule,       denial.process, denial.count};
    sessions_.tell(origin.session, kDaemon, std::move(report));
}

void SessionHost::limited(
    const agent::Origin& origin, const CageId& cage, const std::string& limit,
    const std::string& detail
) {
    session::CageLimit report{origin.invocation, cage, limit, detail};
    sessions_.tell(origin.session, kDaemon, std::move(report));
}

void SessionHost::connection_closed(
    const agent::Origin& origin, const cage::Connection& connection
) {
    net_.add(
        {.session = origin.session,
         .cage = connection.cage,
         .at = connection.at_ms,
         .name = to_valid_utf8(connection.name),
         .port = connection.port,
         .bytes_up = static_cast<std::int64_t>(connection.bytes_up),
         .bytes_down = static_cast<std::int64_t>(connection.bytes_down),
         .duration_ms = connection.duration.count(),
         .verdict = connection.verdict}
    );
}

asio::awaitable<void> SessionHost::output(
    agent::Origin origin, std::string stream, std::string text
) {
    auto actor = actor_of(origin);
    auto mark = mark_of(origin);
    session::Output report{origin.invocation, std::move(stream), to_valid_utf8(text)};
    co_await sessions_.report(origin.session, std::move(actor), std::move(report), std::move(mark));
}

void SessionHost::agent_session(const agent::Origin& origin, const std::string& id) {
    session::AgentSession report{origin.invocation, id};
    sessions_.tell(origin.session, kDaemon, std::move(report));
}

void SessionHost::stream(
    const agent::Origin& origin, std::string_view kind, std::string_view text
) {
    sessions_.stream(origin.session, actor_of(origin), origin.invocation, kind, text);
}

void SessionHost::end_stream(const agent::Origin& origin) {
    sessions_.end_stream(origin.session, actor_of(origin), origin.invocation, mark_of(origin));
}

asio::awaitable<void> SessionHost::request_step(agent::Origin origin, agent::StepInfo step) {
    session::Step wanted{step.id,    origin.invocation, step.type, step.name,
                         step.title, step.arguments,    step.ref};
    if (wanted.arguments.empty()) wanted.arguments = "{}";
    session::RequestStep report{std::move(wanted)};
    auto actor = actor_of(origin);
    auto mark = mark_of(origin);
    co_await sessions_.report(origin.session, std::move(actor), std::move(report), std::move(mark));
}

void SessionHost::finish_step(const agent::Origin& origin, const agent::StepResult& result) {
    session::FinishStep report{origin.invocation, result.id,          result.ok,
                               result.result,     result.duration_ms, result.usage};
    sessions_.tell(origin.session, actor_of(origin), std::move(report), mark_of(origin));
}

asio::awaitable<void> SessionHost::update_plan(
    agent::Origin origin, std::vector<agent::PlanItem> entries
) {
    session::UpdatePlan report{origin.invocation, {}};
    for (auto& entry : entries)
        report.entries.push_back(
            {std::move(entry.id), std::move(entry.text), std::move(entry.status)}
        );
    auto actor = actor_of(origin);
    co_await sessions_.report(origin.session, std::move(actor), std::move(report));
}

asio::awaitable<InvocationId> SessionHost::invoke(
    agent::Origin origin, std::string subagent, std::string task, std::string key
) {
    session::InvokeSubagent report{
        origin.invocation, std::move(subagent), std::move(task), std::move(key)
    };
    auto actor = actor_of(origin);
    const auto answer =
        co_await sessions_.report(origin.session, std::move(actor), std::move(report));
    co_return answer.invocation;
}

asio::awaitable<agent::SubagentAnswer> SessionHost::wait(
    agent::Origin origin, InvocationId invocation, std::chrono::milliseconds deadline
) {
    const auto state = co_await sessions_.state(origin.session);
    const auto* known = state.find_invocation(invocation);
    // Another agent's invocations are none of the caller's business: as if they were not there.
    if (known == nullptr || known->parent != origin.invocation)
        throw Error(Errc::not_found, "you have made no invocation " + invocation.str());
    const auto finished = co_await sessions_.wait_finished(origin.session, invocation, deadline);
    co_return agent::SubagentAnswer{
        finished.id, finished.outcome, finished.reason, finished.result
    };
}

asio::awaitable<agent::SignalReceipt> SessionHost::signal(
    agent::Origin origin, std::string name, std::string data, std::string key
) {
    session::EmitSignal report{origin.invocation, std::move(name), std::move(data), std::move(key)};
    auto actor = actor_of(origin);
    auto mark = mark_of(origin);
    const auto answer = co_await sessions_.report(
        origin.session, std::move(actor), std::move(report), std::move(mark)
    );
    co_return agent::SignalReceipt{answer.seq};
}

void SessionHost::finished(
    const agent::Origin& origin, const std::string& outcome, const std::string& reason,
    const std::string& result
) {
    session::FinishInvocation report{origin.invocation, outcome, reason, to_valid_utf8(result)};
    sessions_.tell(origin.session, kDaemon, std::move(report));
}

void EngineAgents::carry_out(
    const SessionId& session, const std::shared_ptr<const dsl::Project>& project,
    const session::Effect& effect
) {
    const auto request_of = [&](const session::StartAgent& start) {
        agent::StartRequest request;
        request.origin = {session, start.invocation, start.agent};
        request.project = project;
        request.input = start.input;
        request.agent_session = start.agent_session;
        request.grants = start.grants;
        return request;
    };
    if (const auto* start = std::get_if<session::StartAgent>(&effect)) {
        engine_.start(request_of(*start));
    } else if (const auto* adopt = std::get_if<session::AdoptAgent>(&effect)) {
        const auto& facts = adopt->survivor;
        agent::ResumeFacts resume{
            facts.applied, adopt->steps, facts.last_text, facts.tail, adopt->stopping
        };
        engine_.adopt(request_of(adopt->start), std::move(resume));
    } else if (const auto* release = std::get_if<session::ReleaseCage>(&effect)) {
        engine_.release(release->invocation);
    } else if (const auto* admit = std::get_if<session::AdmitStep>(&effect)) {
        engine_.admit(admit->invocation, admit->step, admit->notes);
    } else if (const auto* stop = std::get_if<session::StopAgents>(&effect)) {
        engine_.stop(stop->invocations, "stopped by the operator");
    } else if (const auto* grant = std::get_if<session::ApplyGrant>(&effect)) {
        grants_.carry_out(session, project->name, *grant);
    }
}

void EngineAgents::durable(const session::StreamMark& mark) {
    engine_.durable({mark.cage, mark.stream, mark.offset});
}

}  // namespace volary::app
