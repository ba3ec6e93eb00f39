// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/mailbox.hpp"
#include "daemon/session/decide.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/store/rows.hpp"

#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

/// What the manager keeps per session and per commit. Private to this folder.
namespace volary::session {

struct Manager::Reply {
    explicit Reply(const asio::any_io_executor& executor) : changed(executor) {}

    void finish() {
        done = true;
        changed.notify();
    }
    void fail(const std::exception_ptr& error) {
        failure = error;
        finish();
    }

    Answer answer;
    std::exception_ptr failure;
    bool done = false;
    Notifier changed;
};

struct Manager::Request {
    Request(const asio::any_io_executor& executor, std::string who, Command what)
        : actor(std::move(who)), command(std::move(what)), reply(executor) {}

    std::string actor;
    Command command;
    Mutation mutation;
    bool is_report = false;  ///< tells what has happened: kept until it is durable
    std::optional<StreamMark> mark;
    Reply reply;
};

struct Manager::Live {
    Live(const asio::any_io_executor& executor, SessionId session)
        : id(std::move(session)), finished(executor) {}

    SessionId id;
    bool loaded = false;
    bool pumping = false;
    bool dirty = false;  ///< an item has grown since its checkpoint
    State state;         ///< as of the last durable event
    std::shared_ptr<const dsl::Project> project;
    std::deque<std::shared_ptr<Request>> inbox;
    std::map<InvocationId, OpenItem> items;
    std::set<std::int64_t> open_grants;  ///< recorded, and being carried out
    Notifier finished;                   ///< an invocation has finished, or a grant is carried out
};

/// Commands that were decided together and are committed together.
struct Manager::Batch {
    explicit Batch(const State& state) : next(state) {}

    void take(Decision decision);
    /// Derives the rows of the commit from its events.
    void complete();
    /// Nothing of it is to be committed.
    bool changes_nothing() const;
    void resolve() {
        for (const auto& request : requests) request->reply.finish();
    }

    State next;
    store::Append append;
    std::vector<Effect> effects;
    std::vector<StreamMark> marks;
    std::vector<std::shared_ptr<Request>> requests;
};

/// Frees an in-flight key on every way out, and wakes who waits for its answer.
class InFlight {
public:
    using Keys = std::map<std::string, std::shared_ptr<Notifier>>;

    InFlight(Keys& keys, std::string key, std::shared_ptr<Notifier> finished)
        : keys_(keys), key_(std::move(key)), finished_(std::move(finished)) {}
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;
    ~InFlight() {
        keys_.erase(key_);
        finished_->notify();
    }

private:
    Keys& keys_;
    std::string key_;
    std::shared_ptr<Notifier> finished_;
};

/// What an act under an Idempotency-Key may do: take the answer that the key got, or go on while
/// others under the same key wait.
struct Manager::Turn {
    std::optional<Answer> before;
    std::unique_ptr<InFlight> hold;
};

/// Derives the rows of a commit from its events and the state after them.
void complete_rows(store::Append& append, const State& next);

/// Whose key it is: the same key of another actor or route is another one.
std::string scope_of(const Mutation& mutation);
/// What is kept so that the same act again gets the same answer.
store::IdempotencyRow row_of(const Mutation& mutation, const Answer& answer, UnixMillis now);
Answer answer_from(const std::string& text);
/// Tells two requests under one key apart; not against somebody who wants them to collide.
std::string hash_of(std::string_view request);
store::CheckpointRow checkpoint_of(const SessionId& session, const OpenItem& item);
FinishItem item_from(const store::CheckpointRow& row);

}  // namespace volary::session
