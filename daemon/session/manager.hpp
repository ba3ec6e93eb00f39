// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "daemon/session/commands.hpp"
#include "dsl/project.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace volary::store {
class Store;
struct Append;
struct IdempotencyRow;
}  // namespace volary::store

namespace volary::session {

class Hub;
class Projects;
struct SessionExport;

/// One act of an operator, so that the same act sent twice is done once.
struct Mutation {
    std::string actor;    ///< "operator:NAME"
    std::string route;    ///< method and path; with the actor the scope of the key
    std::string key;      ///< Idempotency-Key; empty: none
    std::string request;  ///< canonical text of the request: another one under the same key is 409
};

/// A streamed text that has not finished.
struct OpenItem {
    ItemId item;
    InvocationId invocation;
    std::string kind;  ///< text, thought
    std::string text;
};

/// What reading a whole log gave.
struct LogVerdict {
    std::int64_t events = 0;
    std::string head;     ///< hex of the last event's hash; tells two logs apart
    std::string problem;  ///< in words; empty: all holds
};

/// Where the session's effects go: owned by this room, carried out by the agents.
class Agents {
public:
    virtual ~Agents() = default;
    virtual void carry_out(
        const SessionId& session, const std::shared_ptr<const dsl::Project>& project,
        const Effect& effect
    ) = 0;
    /// What a stream said up to there took effect and is durable.
    virtual void durable(const StreamMark& mark) = 0;
};

/// Owns every session: one queue of commands each, decided in order, committed, then published and
/// carried out. Lives on the control thread. `close()` before destruction.
class Manager {
public:
    Manager(
        asio::any_io_executor executor, store::Store& store, Projects& projects, Hub& hub,
        const Clock& clock
    );
    ~Manager();
    Manager(const Manager&) = delete;
    Manager& operator=(const Manager&) = delete;

    /// Before anything else runs; the agents must outlive close().
    void connect(Agents& agents) { agents_ = &agents; }

    /// Gives every run that an earlier daemon left behind its verdict; `alive` are the invocations
    /// whose cages are there, and their cages. `goes_on`: this is the log that the last daemon here
    /// wrote, not one that was put back; then what never began is started.
    asio::awaitable<void> recover(std::map<InvocationId, CageId> alive = {}, bool goes_on = false);

    /// Routes a message to `session`, to a new one ("new"), or (empty) to the project's active
    /// session, creating it if there is none. Returns once it is durable.
    /// Throws not_found, invalid, conflict, busy, too_large, unavailable.
    asio::awaitable<Answer> post(
        std::string project, std::string session, PostMessage message, Mutation mutation
    );

    /// What a mutation under this key was answered, waiting for one that is under way. Throws
    /// conflict when the key was used for another request.
    asio::awaitable<std::optional<Answer>> answered_before(const Mutation& mutation);

    /// What grants may not exceed; before anything else runs.
    void limit_grants(CageCeiling ceiling) { ceiling_ = std::move(ceiling); }
    const CageCeiling& ceiling() const noexcept { return ceiling_; }
    /// Throws what operate() would throw for that grant now.
    void check(const State& state, const dsl::Project& project, const Grant& grant) const;

    /// Any other act of an operator on a session.
    asio::awaitable<Answer> operate(SessionId session, Command command, Mutation mutation);

    /// What an agent asks and waits for. Throws what the decision refuses.
    asio::awaitable<Answer> report(
        SessionId session, std::string actor, Command command,
        std::optional<StreamMark> mark = std::nullopt
    );

    /// What an agent reports without waiting: never lost while the daemon lives, in order.
    void tell(
        const SessionId& session, std::string actor, Command command,
        std::optional<StreamMark> mark = std::nullopt
    );

    /// Appends to the invocation's streamed item of that kind and shows it to the followers.
    void stream(
        const SessionId& session, const std::string& actor, const InvocationId& invocation,
        std::string_view kind, std::string_view text
    );
    /// Ends the invocation's streamed item: it becomes an event.
    void end_stream(
        const SessionId& session, const std::string& actor, const InvocationId& invocation,
        std::optional<StreamMark> mark = std::nullopt
    );

    /// The state as of the last durable event. Throws not_found.
    asio::awaitable<State> state(SessionId session);
    /// Last durable position of a session that is in memory, else what the store says.
    asio::awaitable<std::int64_t> last_seq(SessionId session);
    /// Invocations of sessions in memory that have not finished.
    std::vector<std::pair<SessionId, InvocationId>> unfinished() const;
    std::vector<OpenItem> open_items(const SessionId& session) const;

    /// Waits until the invocation has finished; returns it. Throws not_found, and timeout after
    /// `deadline`.
    asio::awaitable<Invocation> wait_finished(
        SessionId session, InvocationId invocation, std::chrono::milliseconds deadline
    );

    /// The agents have carried out the effect ApplyGrant of that log position; a failure was
    /// reported before.
    void grant_done(const SessionId& session, std::int64_t granted);
    /// Waits for that; the grant with how it was applied. Nothing when it is forgotten by now.
    asio::awaitable<std::optional<Granted>> wait_grant(SessionId session, std::int64_t granted);

    /// Takes over a session that was exported, here or on another host, as it was, and records that
    /// (`session.imported`). What was allowed there is not allowed here, and what worked there is
    /// lost. Throws conflict when a session of that id is here.
    asio::awaitable<Answer> import(SessionExport what, Mutation mutation);

    /// Reads a whole log: that nobody changed it, and that the state is what it folds to.
    asio::awaitable<LogVerdict> verify(SessionId session);

    /// The session that a message without one goes to.
    asio::awaitable<std::optional<SessionId>> active_session(std::string project);

    asio::awaitable<void> close();

private:
    struct Reply;
    struct Request;
    struct Live;
    struct Batch;
    struct Turn;
    using LivePtr = std::shared_ptr<Live>;

    asio::awaitable<std::optional<std::string>> unstarted_input(
        State state, InvocationId invocation
    );
    asio::awaitable<Survivor> survivor(State state, InvocationId invocation, CageId cage);
    asio::awaitable<LivePtr> load(SessionId session);
    LivePtr make_live(const SessionId& session);
    asio::awaitable<Answer> submit(LivePtr live, std::shared_ptr<Request> request);
    asio::awaitable<Turn> take_turn(const Mutation& mutation);
    asio::awaitable<Answer> submit_once(LivePtr live, std::shared_ptr<Request> request);
    void enqueue(const LivePtr& live, std::shared_ptr<Request> request);
    asio::awaitable<void> pump(LivePtr live);
    Batch decide_batch(Live& live);
    void decide_one(Live& live, Batch& batch, const std::shared_ptr<Request>& request);
    asio::awaitable<bool> commit(Live& live, Batch& batch);
    void publish(Live& live, Batch& batch);
    void carry_out(Live& live, const Batch& batch);
    void fail(Batch& batch, const std::exception_ptr& failure, Live& live);
    asio::awaitable<void> keep_checkpoints();
    asio::awaitable<void> pause(std::chrono::milliseconds time);
    void evict();
    void use_project(Live& live);

    asio::any_io_executor executor_;
    store::Store& store_;
    Projects& projects_;
    Hub& hub_;
    const Clock& clock_;
    Agents* agents_ = nullptr;
    CageCeiling ceiling_;
    std::unordered_map<SessionId, LivePtr> live_;
    std::map<std::string, SessionId> active_;                     ///< project -> session
    std::map<std::string, std::shared_ptr<Notifier>> in_flight_;  ///< scope + key
    Notifier dirty_;
    TaskScope scope_;  // Last: its tasks use everything above.
};

}  // namespace volary::session
