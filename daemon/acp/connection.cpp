// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/connection.hpp"

#include "base/log.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "daemon/acp/message.hpp"
#include "daemon/acp/rpc_error.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::acp {
namespace {

constexpr const char* kCancelRequest = "$/cancel_request";
constexpr std::size_t kMaxTaggedId = 64;  // bytes; ids are numbers or UUIDs

/// The id in the parameters of `$/cancel_request`, as JSON text; empty when there is none.
std::string cancelled_id(const Json& params) {
    if (!params.is_object()) return {};
    const auto id = params.find("requestId");
    return id == params.end() ? std::string() : dump_json(*id);
}

[[noreturn]] void throw_cancelled() {
    throw boost::system::system_error(asio::error::operation_aborted);
}

}  // namespace

class Connection::Impl : public std::enable_shared_from_this<Connection::Impl> {
public:
    Impl(
        const asio::any_io_executor& executor, std::unique_ptr<Transport> transport,
        const ConnectionResume& resume, ConnectionLimits limits
    )
        : executor_(executor),
          limits_(limits),
          wire_(std::move(transport)),
          applied_(resume.applied),
          base_(resume.from),
          output_(executor),
          room_(executor),
          ended_(executor),
          written_(executor),
          scope_(executor, log_task_errors()) {
        for (const auto& tag : resume.taken) remember(tag);
    }

    asio::awaitable<Json> call(
        std::string method, Json params, std::optional<std::chrono::milliseconds> deadline,
        std::string note = {}
    );
    asio::awaitable<Json> rejoin(std::string method);
    asio::awaitable<void> notify(std::string method, Json params);
    asio::awaitable<void> run();
    asio::awaitable<void> flush(std::chrono::milliseconds deadline);
    asio::awaitable<void> close();
    void enqueue(OutLine line);
    std::uint64_t unanswered_from(std::uint64_t otherwise) const;

    /// A call that was made before, over this wire.
    struct Earlier {
        std::int64_t id = 0;
        std::string note;
    };
    std::map<std::string, Earlier> earlier_;  ///< by method; the newest of each
    LinePlace place_;
    std::map<std::string, RequestHandler, std::less<>> request_handlers_;
    std::map<std::string, NotificationHandler, std::less<>> notification_handlers_;
    StrayHandler stray_;
    bool closed_ = false;

private:
    /// Lives in the frame of its call().
    struct Pending {
        Pending(const asio::any_io_executor& executor, std::string name)
            : method(std::move(name)), wake(executor) {}
        std::string method;
        asio::steady_timer wake;
        bool done = false;
        LinePlace place;  ///< of the answer
        Json result;
        std::exception_ptr error;
    };
    struct Inbound {
        TaskScope::TaskId task;
        std::uint64_t begin = 0;
    };

    asio::awaitable<void> read_lines();
    asio::awaitable<void> write_lines();
    asio::awaitable<void> dispatch(std::string line);
    asio::awaitable<void> serve(
        std::string id, RequestHandler handler, Json params, LinePlace place
    );
    asio::awaitable<Json> wait_for_answer(
        std::int64_t id, Pending& pending, std::optional<std::chrono::milliseconds> deadline
    );
    void remember(const std::string& tag);
    void answer(const std::string& id, std::string line, std::uint64_t begin);
    asio::awaitable<void> wait_for_room();
    void start_request(Message& message);
    void finish_call(const Message& message);
    void peer_gone(const std::exception_ptr& why);
    void cancel_call(std::int64_t id);

    asio::any_io_executor executor_;
    ConnectionLimits limits_;
    std::unique_ptr<Transport> wire_;
    std::uint64_t applied_ = 0;
    std::uint64_t base_ = 0;          ///< of the first byte that was read
    std::set<std::string> answered_;  ///< requests of the peer, by an earlier process
    std::int64_t last_id_ = 0;
    std::map<std::string, Pending*> pending_;
    std::map<std::string, Inbound> inbound_;
    std::deque<OutLine> outbox_;
    std::size_t outbox_bytes_ = 0;
    std::vector<std::uint64_t> writing_;  ///< begins of the answers that are being written
    bool busy_ = false;                   ///< something is being written
    Notifier output_;
    Notifier room_;
    Notifier ended_;
    asio::steady_timer written_;  // for flush(): cancelled after each write
    std::exception_ptr gone_;
    bool running_ = false;
    TaskScope scope_;
};

void Connection::Impl::enqueue(OutLine line) {
    if (closed_) return;
    outbox_bytes_ += line.text.size();
    outbox_.push_back(std::move(line));
    output_.notify();
}

/// Tags: "q ID METHOD NOTE" of a call, "a ID" of an answer.
void Connection::Impl::remember(const std::string& tag) {
    if (tag.starts_with("a ")) answered_.insert(tag.substr(2));
    if (!tag.starts_with("q ")) return;
    const auto first = tag.find(' ', 2);
    const auto second = first == tag.npos ? first : tag.find(' ', first + 1);
    if (second == tag.npos) return;
    const auto id = std::strtoll(tag.c_str() + 2, nullptr, 10);
    earlier_[tag.substr(first + 1, second - first - 1)] = {id, tag.substr(second + 1)};
}

std::uint64_t Connection::Impl::unanswered_from(std::uint64_t otherwise) const {
    auto out = otherwise;
    for (const auto& [id, inbound] : inbound_) out = std::min(out, inbound.begin);
    for (const auto& line : outbox_)
        if (line.begin > 0) out = std::min(out, line.begin - 1);
    for (const auto begin : writing_) out = std::min(out, begin);
    return out;
}

asio::awaitable<void> Connection::Impl::wait_for_room() {
    while (!closed_ && outbox_bytes_ >= limits_.outbox) co_await room_.wait();
    if (closed_) std::rethrow_exception(gone_);
}

void Connection::Impl::cancel_call(std::int64_t id) {
    enqueue({notification_line(kCancelRequest, Json{{"requestId", id}}), {}});
}

asio::awaitable<Json> Connection::Impl::call(
    std::string method, Json params, std::optional<std::chrono::milliseconds> deadline,
    std::string note
) {
    // The caller may resume after the connection's owner has let go of it.
    const auto self = shared_from_this();
    co_await wait_for_room();
    const auto id = ++last_id_;
    Pending pending(executor_, method);
    auto tag = fmt::format("q {} {} {}", id, method, note);
    enqueue({request_line(id, method, params), std::move(tag), true});
    auto answer = co_await wait_for_answer(id, pending, deadline);
    co_return answer;
}

asio::awaitable<Json> Connection::Impl::rejoin(std::string method) {
    const auto self = shared_from_this();
    const auto found = earlier_.find(method);
    if (found == earlier_.end()) throw Error(Errc::not_found, method + ": was not called before");
    const auto id = found->second.id;
    last_id_ = std::max(last_id_, id);
    Pending pending(executor_, method);
    auto answer = co_await wait_for_answer(id, pending, std::nullopt);
    co_return answer;
}

asio::awaitable<Json> Connection::Impl::wait_for_answer(
    std::int64_t id, Pending& pending, std::optional<std::chrono::milliseconds> deadline
) {
    const auto until = deadline ? asio::steady_timer::clock_type::now() + *deadline
                                : asio::steady_timer::time_point::max();
    const auto key = std::to_string(id);
    struct Registration {
        std::map<std::string, Pending*>& calls;
        const std::string& key;
        ~Registration() { calls.erase(key); }
    } registration{pending_, key};
    if (closed_) std::rethrow_exception(gone_);
    pending_[key] = &pending;
    while (!pending.done) {
        pending.wake.expires_at(until);
        co_await pending.wake.async_wait(as_result);
        if (pending.done) break;
        // Asked here: awaiting a coroutine that asks would throw when it is so.
        const auto state = co_await asio::this_coro::cancellation_state;
        const bool cancelled = state.cancelled() != asio::cancellation_type::none;
        const bool late = asio::steady_timer::clock_type::now() >= until;
        if (!cancelled && !late) continue;
        cancel_call(id);
        if (cancelled) throw_cancelled();
        throw Error(
            Errc::timeout,
            fmt::format("{}: no answer within {} ms", pending.method, deadline->count())
        );
    }
    place_ = pending.place;
    if (pending.error) std::rethrow_exception(pending.error);
    co_return std::move(pending.result);
}

asio::awaitable<void> Connection::Impl::notify(std::string method, Json params) {
    const auto self = shared_from_this();
    co_await wait_for_room();
    enqueue({notification_line(method, params), {}});
}

void Connection::Impl::finish_call(const Message& message) {
    const auto found = pending_.find(message.id);
    // An answer to what was cancelled or timed out, or to nothing.
    if (found == pending_.end()) return;
    auto& pending = *found->second;
    pending.done = true;
    pending.place = place_;
    if (message.kind == Message::Kind::result) {
        pending.result = std::move(*message.body);
    } else {
        pending.error = std::make_exception_ptr(RpcError(
            message.code, fmt::format("{}: {} ({})", pending.method, message.problem, message.code)
        ));
    }
    pending.wake.cancel();
}

asio::awaitable<void> Connection::Impl::serve(
    std::string id, RequestHandler handler, Json params, LinePlace place
) {
    std::string line;
    try {
        place_ = place;
        const auto result = co_await handler(std::move(params));
        line = result_line(id, result);
    } catch (...) {
        line = error_answer(id, std::current_exception());
    }
    inbound_.erase(id);
    // Not waited for: the number of requests in work bounds these, and a cancelled task must
    // still be able to say so.
    answer(id, std::move(line), place.begin);
}

void Connection::Impl::answer(const std::string& id, std::string line, std::uint64_t begin) {
    // The peer chooses the id. A tag is kept outside of its cage, so it must be small.
    auto tag = id.size() <= kMaxTaggedId ? "a " + id : std::string();
    enqueue({std::move(line), std::move(tag), false, begin + 1});
}

void Connection::Impl::start_request(Message& message) {
    const auto refuse = [&](int code, const std::string& problem) {
        answer(message.id, error_line(message.id, code, problem), place_.begin);
    };
    const auto handler = request_handlers_.find(message.method);
    if (handler == request_handlers_.end())
        return refuse(rpc::kMethodNotFound, fmt::format("no such method: {}", message.method));
    if (inbound_.contains(message.id))
        // Without a tag of its own: the answer to the other one is still to come.
        return enqueue(
            {error_line(message.id, rpc::kInvalidRequest, "a request with this id is in work"), {}}
        );
    if (inbound_.size() >= limits_.requests)
        return refuse(
            rpc::kInternalError,
            fmt::format("{} requests are in work, no more are taken", inbound_.size())
        );
    auto task = serve(message.id, handler->second, std::move(*message.body), place_);
    inbound_[message.id] = {scope_.spawn(message.method, std::move(task)), place_.begin};
}

asio::awaitable<void> Connection::Impl::dispatch(std::string line) {
    auto message = parse_message(line, {limits_.line, limits_.depth});
    const bool again = place_.end <= applied_;
    if (again && (message.kind != Message::Kind::request || answered_.contains(message.id)))
        co_return;
    if (message.kind == Message::Kind::result || message.kind == Message::Kind::error) {
        finish_call(message);
    } else if (message.kind == Message::Kind::request) {
        start_request(message);
    } else if (message.kind == Message::Kind::notification) {
        if (message.method == kCancelRequest) {
            const auto found = inbound_.find(cancelled_id(*message.body));
            if (found != inbound_.end()) scope_.cancel(found->second.task);
            co_return;
        }
        const auto found = notification_handlers_.find(message.method);
        if (found == notification_handlers_.end()) co_return;  // JSON-RPC: never answered
        co_await found->second(std::move(*message.body));
    } else {
        if (stray_) stray_(std::move(line));
        if (message.kind == Message::Kind::invalid)
            enqueue({error_line(message.id, message.code, message.problem), {}});
    }
}

asio::awaitable<void> Connection::Impl::read_lines() {
    LineBuffer lines(limits_.line);
    while (!closed_) {
        const auto piece = co_await wire_->read();
        if (!piece) co_return;
        lines.feed(piece->bytes);
        auto begin = base_ + lines.consumed();
        while (auto line = lines.next()) {
            place_ = {begin, base_ + lines.consumed()};
            begin = place_.end;
            co_await dispatch(std::move(*line));
        }
        if (lines.overflowed())
            throw Error(
                Errc::too_large,
                fmt::format("the peer sent a line of more than {} bytes", limits_.line)
            );
    }
}

asio::awaitable<void> Connection::Impl::write_lines() {
    while (true) {
        while (outbox_.empty()) co_await output_.wait();
        auto lines = std::exchange(outbox_, {});
        outbox_bytes_ = 0;
        writing_.clear();
        for (const auto& line : lines)
            if (line.begin > 0) writing_.push_back(line.begin - 1);
        busy_ = true;
        room_.notify();
        const auto problem = co_await wire_->write(std::move(lines));
        busy_ = false;
        writing_.clear();
        written_.cancel();
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) co_return;
        if (!problem.empty()) {
            peer_gone(
                std::make_exception_ptr(Error(Errc::unavailable, "write to the peer: " + problem))
            );
            co_return;
        }
    }
}

void Connection::Impl::peer_gone(const std::exception_ptr& why) {
    if (closed_) return;
    closed_ = true;
    gone_ = why;
    for (auto& [id, pending] : pending_) {
        pending->done = true;
        pending->error = why;
        pending->wake.cancel();
    }
    for (const auto& [id, inbound] : inbound_) scope_.cancel(inbound.task);
    room_.notify();
    wire_->stop();
}

asio::awaitable<void> Connection::Impl::run() {
    const auto self = shared_from_this();
    if (closed_) co_return;
    running_ = true;
    std::exception_ptr failure;
    try {
        scope_.spawn("acp writer", write_lines());
        co_await read_lines();
    } catch (...) {
        failure = std::current_exception();
    }
    running_ = false;
    peer_gone(
        failure && !is_cancellation(failure)
            ? failure
            : std::make_exception_ptr(Error(Errc::unavailable, "the peer closed the connection"))
    );
    ended_.notify();
    if (failure) std::rethrow_exception(failure);
}

asio::awaitable<void> Connection::Impl::flush(std::chrono::milliseconds deadline) {
    const auto self = shared_from_this();
    const auto until = asio::steady_timer::clock_type::now() + deadline;
    while (!outbox_.empty() || busy_) {
        written_.expires_at(until);
        co_await written_.async_wait(as_result);
        // Asked here: awaiting a coroutine that asks would throw when it is so.
        const auto state = co_await asio::this_coro::cancellation_state;
        const bool cancelled = state.cancelled() != asio::cancellation_type::none;
        if (cancelled || asio::steady_timer::clock_type::now() >= until) co_return;
    }
}

asio::awaitable<void> Connection::Impl::close() {
    const auto self = shared_from_this();
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    peer_gone(std::make_exception_ptr(Error(Errc::unavailable, "the connection is closed")));
    wire_->close();
    while (running_) co_await ended_.wait();
    co_await scope_.close();
}

Connection::Connection(
    asio::any_io_executor executor, UniqueFd in, UniqueFd out, ConnectionLimits limits
)
    : impl_(std::make_shared<Impl>(
          executor, make_fd_transport(executor, std::move(in), std::move(out)), ConnectionResume(),
          limits
      )) {}

Connection::Connection(
    asio::any_io_executor executor, std::unique_ptr<Transport> transport, ConnectionResume resume,
    ConnectionLimits limits
)
    : impl_(std::make_shared<Impl>(executor, std::move(transport), resume, limits)) {}

Connection::~Connection() = default;

void Connection::on_request(std::string method, RequestHandler handler) {
    impl_->request_handlers_[std::move(method)] = std::move(handler);
}

void Connection::on_notification(std::string method, NotificationHandler handler) {
    impl_->notification_handlers_[std::move(method)] = std::move(handler);
}

void Connection::on_stray(StrayHandler handler) { impl_->stray_ = std::move(handler); }

asio::awaitable<Json> Connection::call(
    std::string method, Json params, std::optional<std::chrono::milliseconds> deadline
) {
    return impl_->call(std::move(method), std::move(params), deadline);
}

asio::awaitable<void> Connection::notify(std::string method, Json params) {
    return impl_->notify(std::move(method), std::move(params));
}

std::optional<std::string> Connection::called_before(const std::string& method) const {
    const auto found = impl_->earlier_.find(method);
    if (found == impl_->earlier_.end()) return std::nullopt;
    return found->second.note;
}

asio::awaitable<Json> Connection::rejoin(std::string method) {
    return impl_->rejoin(std::move(method));
}

asio::awaitable<Json> Connection::call_noted(std::string method, Json params, std::string note) {
    return impl_->call(std::move(method), std::move(params), std::nullopt, std::move(note));
}

LinePlace Connection::place() const noexcept { return impl_->place_; }

std::uint64_t Connection::unanswered_from(std::uint64_t otherwise) const {
    return impl_->unanswered_from(otherwise);
}

void Connection::post(const std::string& method, const Json& params) {
    impl_->enqueue({notification_line(method, params), {}});
}

asio::awaitable<void> Connection::run() { return impl_->run(); }

asio::awaitable<void> Connection::flush(std::chrono::milliseconds deadline) {
    return impl_->flush(deadline);
}

asio::awaitable<void> Connection::close() { return impl_->close(); }

bool Connection::closed() const noexcept { return impl_->closed_; }

}  // namespace volary::acp
