// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/manager.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "daemon/session/decide.hpp"
#include "daemon/session/fold.hpp"
#include "daemon/session/hub.hpp"
#include "daemon/session/live.hpp"
#include "daemon/session/projects.hpp"
#include "daemon/store/store.hpp"

#include <algorithm>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

constexpr std::size_t kMaxBatch = 128;  // commands that share a commit: bounds its latency
constexpr std::size_t kMaxLive = 512;   // sessions kept in memory; idle ones beyond it go
constexpr std::size_t kMaxItem = 1U
                                 << 20U;  // bytes of one streamed item; a longer one is cut in two
constexpr std::chrono::milliseconds kRetry{500};        // while the store is unavailable
constexpr std::chrono::milliseconds kCheckpoint{1000};  // design.md, section 5: at most one second

}  // namespace

Manager::Manager(
    asio::any_io_executor executor, store::Store& store, Projects& projects, Hub& hub,
    const Clock& clock
)
    : executor_(executor),
      store_(store),
      projects_(projects),
      hub_(hub),
      clock_(clock),
      dirty_(executor),
      scope_(executor, log_task_errors()) {
    scope_.spawn("checkpoints", keep_checkpoints());
}

Manager::~Manager() = default;

asio::awaitable<Answer> Manager::post(
    std::string project, std::string session, PostMessage message, Mutation mutation
) {
    if (projects_.find(project) == nullptr)
        throw Error(Errc::not_found, fmt::format("no project \"{}\"", project));
    auto before = co_await answered_before(mutation);
    if (before) co_return *before;
    SessionId id(session);
    bool fresh = session == "new";
    if (session.empty()) {
        auto active = co_await active_session(project);
        // Somebody else may have made it while we asked.
        if (!active && active_.contains(project)) active = active_.at(project);
        fresh = !active;
        if (active) id = *active;
    }
    LivePtr live;
    if (fresh) {
        id = SessionId::make(clock_);
        active_[project] = id;
        live = make_live(id);
        live->loaded = true;
        live->state.id = id;
        live->state.project = project;
    } else {
        live = co_await load(id);
        if (live->state.project != project)
            throw Error(
                Errc::not_found, fmt::format("no session {} in project \"{}\"", id.str(), project)
            );
        active_[project] = id;
    }
    auto request = std::make_shared<Request>(executor_, mutation.actor, std::move(message));
    request->mutation = std::move(mutation);
    co_return co_await submit_once(live, request);
}

asio::awaitable<Answer> Manager::operate(SessionId session, Command command, Mutation mutation) {
    auto before = co_await answered_before(mutation);
    if (before) co_return *before;
    auto live = co_await load(session);
    auto request = std::make_shared<Request>(executor_, mutation.actor, std::move(command));
    request->mutation = std::move(mutation);
    co_return co_await submit_once(live, request);
}

asio::awaitable<Answer> Manager::report(
    SessionId session, std::string actor, Command command, std::optional<StreamMark> mark
) {
    auto live = co_await load(session);
    auto request = std::make_shared<Request>(executor_, std::move(actor), std::move(command));
    request->is_report = true;
    request->mark = std::move(mark);
    co_return co_await submit(live, request);
}

void Manager::tell(
    const SessionId& session, std::string actor, Command command, std::optional<StreamMark> mark
) {
    const auto found = live_.find(session);
    // Only a session in memory has agents that could tell anything.
    if (found == live_.end()) return;
    auto request = std::make_shared<Request>(executor_, std::move(actor), std::move(command));
    request->is_report = true;
    request->mark = std::move(mark);
    enqueue(found->second, std::move(request));
}

asio::awaitable<std::optional<Answer>> Manager::answered_before(const Mutation& mutation) {
    if (mutation.key.empty()) co_return std::nullopt;
    const auto scope = scope_of(mutation);
    // The same key may be on its way to the log right now.
    for (auto found = in_flight_.find(scope + "\n" + mutation.key); found != in_flight_.end();
         found = in_flight_.find(scope + "\n" + mutation.key)) {
        const auto finished = found->second;
        co_await finished->wait();
    }
    auto row = co_await store_.find_idempotent(scope, mutation.key);
    if (!row) co_return std::nullopt;
    if (row->request_hash != hash_of(mutation.request))
        throw Error(Errc::conflict, "this Idempotency-Key was used for another request");
    co_return answer_from(row->response);
}

asio::awaitable<Manager::Turn> Manager::take_turn(const Mutation& mutation) {
    if (mutation.key.empty()) co_return Turn();
    const auto key = scope_of(mutation) + "\n" + mutation.key;
    while (true) {
        auto before = co_await answered_before(mutation);
        if (before) co_return Turn{std::move(before), nullptr};
        // Several come past answered_before() together; the first to get here goes on, the others
        // take its answer, or, where it failed, their turn.
        if (!in_flight_.contains(key)) break;
    }
    const auto finished = std::make_shared<Notifier>(executor_);
    in_flight_[key] = finished;
    co_return Turn{std::nullopt, std::make_unique<InFlight>(in_flight_, key, finished)};
}

asio::awaitable<Answer> Manager::submit_once(LivePtr live, std::shared_ptr<Request> request) {
    const auto turn = co_await take_turn(request->mutation);
    if (turn.before) co_return *turn.before;
    co_return co_await submit(std::move(live), std::move(request));
}

asio::awaitable<Answer> Manager::submit(LivePtr live, std::shared_ptr<Request> request) {
    enqueue(live, request);
    while (!request->reply.done) co_await request->reply.changed.wait();
    if (request->reply.failure) std::rethrow_exception(request->reply.failure);
    co_return request->reply.answer;
}

Manager::LivePtr Manager::make_live(const SessionId& session) {
    auto& live = live_[session];
    if (!live) live = std::make_shared<Live>(executor_, session);
    return live;
}

asio::awaitable<Manager::LivePtr> Manager::load(SessionId session) {
    const auto found = live_.find(session);
    if (found != live_.end() && found->second->loaded) co_return found->second;
    auto row = co_await store_.find_session(session);
    const auto again = live_.find(session);
    if (again != live_.end() && again->second->loaded) co_return again->second;
    if (!row) throw Error(Errc::not_found, "no session " + session.str());
    auto live = make_live(session);
    live->state = from_projection(row->state);
    live->loaded = true;
    co_return live;
}

void Manager::enqueue(const LivePtr& live, std::shared_ptr<Request> request) {
    if (scope_.closing()) {
        request->reply.fail(std::make_exception_ptr(Error(Errc::unavailable, "the daemon stops")));
        return;
    }
    live->inbox.push_back(std::move(request));
    if (live->pumping) return;
    live->pumping = true;
    scope_.spawn("session " + live->id.str(), pump(live));
}

asio::awaitable<void> Manager::pump(LivePtr live) {
    while (!live->inbox.empty()) {
        auto batch = decide_batch(*live);
        if (batch.changes_nothing()) {
            carry_out(*live, batch);
            batch.resolve();
            continue;
        }
        const bool committed = co_await commit(*live, batch);
        if (committed)
            publish(*live, batch);
        else
            co_await pause(kRetry);
    }
    live->pumping = false;
    evict();
}

void Manager::use_project(Live& live) {
    // A run keeps the project that it began with; a new one takes the file as it is now.
    if (live.project && live.state.run) return;
    const auto* entry = projects_.refresh(live.state.project);
    if (entry != nullptr && entry->project) live.project = entry->project;
    // Verdicts and stops need no project; everything else finds no agent in an empty one.
    if (!live.project) live.project = std::make_shared<const dsl::Project>();
}

Manager::Batch Manager::decide_batch(Live& live) {
    use_project(live);
    Batch batch(live.state);
    while (!live.inbox.empty() && batch.requests.size() < kMaxBatch) {
        const auto request = live.inbox.front();
        live.inbox.pop_front();
        decide_one(live, batch, request);
        // One idempotency row fits in a commit.
        if (batch.append.idempotency) break;
    }
    return batch;
}

void Manager::decide_one(Live& live, Batch& batch, const std::shared_ptr<Request>& request) {
    try {
        const Context context{*live.project, clock_, request->actor, live.id, ceiling_};
        auto decision = decide(batch.next, request->command, context);
        request->reply.answer = decision.answer;
        if (!request->mutation.key.empty())
            batch.append.idempotency = row_of(request->mutation, decision.answer, clock_.now_ms());
        batch.take(std::move(decision));
        if (request->mark) batch.marks.push_back(*request->mark);
        // Text that was under way is an event by now, or is said again by an agent that lives.
        if (const auto* recover = std::get_if<Recover>(&request->command))
            for (const auto& item : recover->unfinished)
                batch.append.finished_items.push_back(item.item);
    } catch (const Error&) {
        // What was folded before the refusal is undone; what the batch holds stays.
        batch.next = live.state;
        for (const auto& event : batch.append.events) apply(batch.next, event);
        request->reply.fail(std::current_exception());
        return;
    }
    batch.requests.push_back(request);
}

asio::awaitable<bool> Manager::commit(Live& live, Batch& batch) {
    try {
        batch.complete();
        auto append = batch.append;
        co_await store_.append(std::move(append));
        co_return true;
    } catch (const Error& error) {
        log::error(
            "a session's events were not taken",
            {{"session", live.id.str()}, {"error", error.what()}}
        );
        fail(batch, std::current_exception(), live);
        co_return false;
    }
}

void Manager::fail(Batch& batch, const std::exception_ptr& failure, Live& live) {
    // An operator hears at once and may ask again. What an agent reported stays first in line:
    // nothing that happened is lost because a disk was full for a while.
    for (auto request = batch.requests.rbegin(); request != batch.requests.rend(); ++request) {
        if ((*request)->is_report)
            live.inbox.push_front(*request);
        else
            (*request)->reply.fail(failure);
    }
}

void Manager::publish(Live& live, Batch& batch) {
    live.state = std::move(batch.next);
    for (const auto& event : batch.append.events) hub_.publish(event);
    if (hub_.is_list_followed()) {
        const Json summary = {{"summary", summary_json(live.state)}};
        hub_.publish_summary(std::make_shared<const std::string>(dump_json(summary)));
    }
    carry_out(live, batch);
    batch.resolve();
}

void Manager::carry_out(Live& live, const Batch& batch) {
    for (const auto& mark : batch.marks)
        if (agents_ != nullptr) agents_->durable(mark);
    for (const auto& effect : batch.effects) {
        if (const auto* grant = std::get_if<ApplyGrant>(&effect))
            live.open_grants.insert(grant->granted);
        if (std::holds_alternative<TellFinished>(effect))
            live.finished.notify();
        else if (agents_ != nullptr)
            agents_->carry_out(live.id, live.project, effect);
    }
}

void Manager::stream(
    const SessionId& session, const std::string& actor, const InvocationId& invocation,
    std::string_view kind, std::string_view text
) {
    const auto found = live_.find(session);
    if (found == live_.end() || text.empty()) return;
    auto& live = *found->second;
    auto open = live.items.find(invocation);
    if (open != live.items.end() &&
        (open->second.kind != kind || open->second.text.size() + text.size() > kMaxItem)) {
        end_stream(session, actor, invocation);
        open = live.items.end();
    }
    if (open == live.items.end()) {
        const OpenItem item{ItemId::make(clock_), invocation, std::string(kind), {}};
        open = live.items.emplace(invocation, item).first;
    }
    auto& item = open->second;
    if (hub_.is_followed(session)) {
        const Json delta = {
            {"delta",
             {{"session", session.str()},
              {"item", item.item.str()},
              {"invocation", invocation.str()},
              {"kind", item.kind},
              {"offset", item.text.size()},
              {"text", text}}}
        };
        hub_.publish_delta(session, std::make_shared<const std::string>(dump_json(delta)));
    }
    item.text += text;
    live.dirty = true;
    dirty_.notify();
}

void Manager::end_stream(
    const SessionId& session, const std::string& actor, const InvocationId& invocation,
    std::optional<StreamMark> mark
) {
    const auto found = live_.find(session);
    if (found == live_.end()) return;
    const auto open = found->second->items.extract(invocation);
    if (open.empty()) return;
    const auto& item = open.mapped();
    tell(session, actor, FinishItem{invocation, item.item, item.kind, item.text, false}, mark);
}

asio::awaitable<void> Manager::keep_checkpoints() {
    while (true) {
        std::vector<store::CheckpointRow> rows;
        for (const auto& [id, live] : live_) {
            if (!std::exchange(live->dirty, false)) continue;
            for (const auto& [invocation, item] : live->items)
                rows.push_back(checkpoint_of(id, item));
        }
        if (rows.empty()) {
            co_await dirty_.wait();
        } else {
            try {
                co_await store_.checkpoint(std::move(rows));
            } catch (const Error& error) {
                // The next second tries again; the finished item does not depend on it.
                log::warning("a checkpoint was not taken", {{"error", error.what()}});
            }
        }
        co_await pause(kCheckpoint);
    }
}

asio::awaitable<void> Manager::pause(std::chrono::milliseconds time) {
    asio::steady_timer timer(executor_, time);
    co_await timer.async_wait(asio::use_awaitable);
}

void Manager::evict() {
    if (live_.size() <= kMaxLive) return;
    std::erase_if(live_, [&](const auto& entry) {
        const auto& live = *entry.second;
        const bool idle = live.loaded && !live.pumping && !live.state.run && live.items.empty() &&
                          live.open_grants.empty();
        return idle && !hub_.is_followed(entry.first) && entry.second.use_count() == 1;
    });
}

asio::awaitable<State> Manager::state(SessionId session) {
    const auto live = co_await load(session);
    if (live->state.last_seq == 0) throw Error(Errc::not_found, "no session " + session.str());
    co_return live->state;
}

asio::awaitable<std::int64_t> Manager::last_seq(SessionId session) {
    const auto live = co_await load(session);
    if (live->state.last_seq == 0) throw Error(Errc::not_found, "no session " + session.str());
    co_return live->state.last_seq;
}

std::vector<OpenItem> Manager::open_items(const SessionId& session) const {
    std::vector<OpenItem> out;
    const auto found = live_.find(session);
    if (found == live_.end()) return out;
    for (const auto& [invocation, item] : found->second->items) out.push_back(item);
    return out;
}

asio::awaitable<Invocation> Manager::wait_finished(
    SessionId session, InvocationId invocation, std::chrono::milliseconds deadline
) {
    const auto live = co_await load(session);
    const auto until = asio::steady_timer::clock_type::now() + deadline;
    while (true) {
        const auto* inv = live->state.find_invocation(invocation);
        if (inv == nullptr) throw Error(Errc::not_found, "no invocation " + invocation.str());
        if (inv->state == InvocationState::finished) co_return *inv;
        if (asio::steady_timer::clock_type::now() >= until)
            throw Error(Errc::timeout, "the invocation " + invocation.str() + " still works");
        co_await live->finished.wait_until(until);
    }
}

void Manager::check(const State& state, const dsl::Project& project, const Grant& grant) const {
    check_grant(state, project, ceiling_, grant);
}

void Manager::grant_done(const SessionId& session, std::int64_t granted) {
    const auto found = live_.find(session);
    if (found == live_.end()) return;
    found->second->open_grants.erase(granted);
    found->second->finished.notify();
}

asio::awaitable<std::optional<Granted>> Manager::wait_grant(
    SessionId session, std::int64_t granted
) {
    const auto live = co_await load(session);
    while (live->open_grants.contains(granted)) co_await live->finished.wait();
    const auto* grant = live->state.find_grant(granted);
    if (grant == nullptr) co_return std::nullopt;
    co_return *grant;
}

asio::awaitable<std::optional<SessionId>> Manager::active_session(std::string project) {
    const auto known = active_.find(project);
    if (known != active_.end()) co_return known->second;
    store::SessionFilter filter{project, 1, 0};
    const auto page = co_await store_.sessions(std::move(filter));
    if (page.sessions.empty()) co_return std::nullopt;
    co_return page.sessions.front().id;
}

asio::awaitable<void> Manager::close() {
    // What is queued is still decided: agents that end now report how.
    while (std::any_of(live_.begin(), live_.end(), [](auto& entry) {
        return entry.second->pumping;
    }))
        co_await pause(std::chrono::milliseconds(5));
    co_await scope_.close();
}

}  // namespace volary::session
