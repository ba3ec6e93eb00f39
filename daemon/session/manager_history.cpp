// SPDX-License-Identifier: Apache-2.0
// Whole logs: taken over from elsewhere, and read again from their first event.
#include "base/error.hpp"
#include "daemon/session/fold.hpp"
#include "daemon/session/hub.hpp"
#include "daemon/session/import.hpp"
#include "daemon/session/live.hpp"
#include "daemon/store/store.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

/// Events read at a time: a few milliseconds of the loop.
constexpr std::int64_t kPage = 500;

Event imported_event(
    const State& folded, const std::string& head, const std::string& actor, UnixMillis now
) {
    Event event;
    event.session = folded.id;
    event.seq = folded.last_seq + 1;
    event.at = now;
    event.kind = "session.imported";
    event.actor = actor;
    event.body = dump_json({{"events", folded.last_seq}, {"head", head}});
    return event;
}

}  // namespace

asio::awaitable<Answer> Manager::import(SessionExport what, Mutation mutation) {
    const auto turn = co_await take_turn(mutation);
    if (turn.before) co_return *turn.before;
    const auto id = what.session;
    const auto found = co_await store_.find_session(id);
    if (found || live_.contains(id))
        throw Error(
            Errc::conflict,
            fmt::format(
                "session {} is here already, with {} events", id.str(), found ? found->last_seq : 0
            )
        );
    Batch batch{State()};
    batch.append.events = std::move(what.log);
    for (const auto& event : batch.append.events) apply(batch.next, event);
    if (batch.next.id != id || batch.next.project.empty())
        throw Error(Errc::invalid, "the export does not begin with the creation of its session");
    auto marked = imported_event(batch.next, what.head, mutation.actor, clock_.now_ms());
    apply(batch.next, marked);
    batch.append.events.push_back(std::move(marked));
    batch.complete();
    Answer answer;
    answer.session = id;
    answer.seq = batch.next.last_seq;
    batch.append.idempotency = row_of(mutation, answer, clock_.now_ms());
    co_await store_.append(std::move(batch.append));
    const auto live = make_live(id);
    live->state = std::move(batch.next);
    live->loaded = true;
    if (live->state.run) {
        auto request = std::make_shared<Request>(executor_, "daemon", Recover());
        co_await submit(live, std::move(request));
    }
    co_return answer;
}

asio::awaitable<LogVerdict> Manager::verify(SessionId session) {
    const auto live = co_await load(session);
    const auto chain = co_await store_.verify(session);
    LogVerdict verdict{chain.events, chain.head, chain.problem};
    State folded;
    // What is appended meanwhile is read too: the state is that of the last durable event.
    while (verdict.problem.empty() && folded.last_seq < live->state.last_seq) {
        const auto page = co_await store_.events(session, folded.last_seq, kPage);
        if (page.empty()) {
            verdict.problem = fmt::format("the log ends at event {}", folded.last_seq);
            break;
        }
        try {
            for (const auto& event : page) apply(folded, event);
        } catch (const Error& error) {
            verdict.problem = error.what();
        }
    }
    if (verdict.problem.empty() && folded.last_seq == live->state.last_seq && folded != live->state)
        verdict.problem = "the stored state is not what the log folds to";
    co_return verdict;
}

}  // namespace volary::session
