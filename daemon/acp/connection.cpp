// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/connection.hpp"

#include "base/log.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "daemon/acp/message.hpp"

#include <array>
#include <map>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::acp {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10U;  // what a pipe holds by default
constexpr const char* kCancelRequest = "$/cancel_request";

Errc errc_of(int rpc_code) {
    if (rpc_code == rpc::kInvalidParams) return Errc::invalid;
    if (rpc_code == rpc::kNotFound) return Errc::not_found;
    if (rpc_code == rpc::kMethodNotFound) return Errc::unavailable;
    if (rpc_code == rpc::kAuthRequired) return Errc::denied;
    return Errc::internal;
}

std::string error_answer(const std::string& id, const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const RpcError& e) {
        return error_line(id, e.rpc_code(), e.what());
    } catch (const Error& e) {
        const int code = e.code() == Errc::invalid     ? rpc::kInvalidParams
                         : e.code() == Errc::not_found ? rpc::kNotFound
                                                       : rpc::kInternalError;
        return error_line(id, code, e.what());
    } catch (...) {
        if (is_cancellation(error)) return error_line(id, rpc::kRequestCancelled, "cancelled");
        return error_line(id, rpc::kInternalError, describe(error));
    }
}

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

RpcError::RpcError(int rpc_code, std::string message)
    : Error(errc_of(rpc_code), std::move(message)), rpc_code_(rpc_code) {}

class Connection::Impl : public std::enable_shared_from_this<Connection::Impl> {
public:
    Impl(const asio::any_io_executor& executor, UniqueFd in, UniqueFd out, ConnectionLimits limits)
        : executor_(executor),
          limits_(limits),
          in_(executor, in.release()),
          out_(executor, out.release()),
          output_(executor),
          room_(executor),
          ended_(executor),
          written_(executor),
          scope_(executor, log_task_errors()) {}

    asio::awaitable<Json> call(
        std::string method, Json params, std::optional<std::chrono::milliseconds> deadline
    );
    asio::awaitable<void> notify(std::string method, Json params);
    asio::awaitable<void> run();
    asio::awaitable<void> flush(std::chrono::milliseconds deadline);
    asio::awaitable<void> close();
    void enqueue(std::string_view line);

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
        Json result;
        std::exception_ptr error;
    };

    asio::awaitable<void> read_lines();
    asio::awaitable<void> write_lines();
    asio::awaitable<void> dispatch(std::string line);
    asio::awaitable<void> serve(std::string id, RequestHandler handler, Json params);
    asio::awaitable<void> wait_for_room();
    void start_request(Message& message);
    void finish_call(const Message& message);
    void peer_gone(const std::exception_ptr& why);
    void cancel_call(std::int64_t id);

    asio::any_io_executor executor_;
    ConnectionLimits limits_;
    asio::posix::stream_descriptor in_;
    asio::posix::stream_descriptor out_;
    std::int64_t last_id_ = 0;
    std::map<std::string, Pending*> pending_;
    std::map<std::string, TaskScope::TaskId> inbound_;
    std::string outbox_;
    std::string writing_;
    Notifier output_;
    Notifier room_;
    Notifier ended_;
    asio::steady_timer written_;  // for flush(): cancelled after each write
    std::exception_ptr gone_;
    bool running_ = false;
    TaskScope scope_;
};

void Connection::Impl::enqueue(std::string_view line) {
    if (closed_) return;
    outbox_.append(line);
    output_.notify();
}

asio::awaitable<void> Connection::Impl::wait_for_room() {
    while (!closed_ && outbox_.size() >= limits_.outbox) co_await room_.wait();
    if (closed_) std::rethrow_exception(gone_);
}

void Connection::Impl::cancel_call(std::int64_t id) {
    enqueue(notification_line(kCancelRequest, Json{{"requestId", id}}));
}

asio::awaitable<Json> Connection::Impl::call(
    std::string method, Json params, std::optional<std::chrono::milliseconds> deadline
) {
    // The caller may resume after the connection's owner has let go of it.
    const auto self = shared_from_this();
    const auto until = deadline ? asio::steady_timer::clock_type::now() + *deadline
                                : asio::steady_timer::time_point::max();
    co_await wait_for_room();
    const auto id = ++last_id_;
    Pending pending(executor_, method);
    const auto key = std::to_string(id);
    struct Registration {
        std::map<std::string, Pending*>& calls;
        const std::string& key;
        ~Registration() { calls.erase(key); }
    } registration{pending_, key};
    pending_[key] = &pending;
    enqueue(request_line(id, method, params));
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
            Errc::timeout, fmt::format("{}: no answer within {} ms", method, deadline->count())
        );
    }
    if (pending.error) std::rethrow_exception(pending.error);
    co_return std::move(pending.result);
}

asio::awaitable<void> Connection::Impl::notify(std::string method, Json params) {
    const auto self = shared_from_this();
    co_await wait_for_room();
    enqueue(notification_line(method, params));
}

void Connection::Impl::finish_call(const Message& message) {
    const auto found = pending_.find(message.id);
    // An answer to what was cancelled or timed out, or to nothing.
    if (found == pending_.end()) return;
    auto& pending = *found->second;
    pending.done = true;
    if (message.kind == Message::Kind::result) {
        pending.result = std::move(*message.body);
    } else {
        pending.error = std::make_exception_ptr(RpcError(
            message.code, fmt::format("{}: {} ({})", pending.method, message.problem, message.code)
        ));
    }
    pending.wake.cancel();
}

asio::awaitable<void> Connection::Impl::serve(std::string id, RequestHandler handler, Json params) {
    std::string answer;
    try {
        const auto result = co_await handler(std::move(params));
        answer = result_line(id, result);
    } catch (...) {
        answer = error_answer(id, std::current_exception());
    }
    inbound_.erase(id);
    // Not waited for: the number of requests in work bounds these, and a cancelled task must
    // still be able to say so.
    enqueue(answer);
}

void Connection::Impl::start_request(Message& message) {
    const auto handler = request_handlers_.find(message.method);
    if (handler == request_handlers_.end()) {
        const auto problem = fmt::format("no such method: {}", message.method);
        return enqueue(error_line(message.id, rpc::kMethodNotFound, problem));
    }
    if (inbound_.contains(message.id))
        return enqueue(
            error_line(message.id, rpc::kInvalidRequest, "a request with this id is in work")
        );
    if (inbound_.size() >= limits_.requests)
        return enqueue(error_line(
            message.id, rpc::kInternalError,
            fmt::format("{} requests are in work, no more are taken", inbound_.size())
        ));
    inbound_[message.id] =
        scope_.spawn(message.method, serve(message.id, handler->second, std::move(*message.body)));
}

asio::awaitable<void> Connection::Impl::dispatch(std::string line) {
    auto message = parse_message(line, {limits_.line, limits_.depth});
    if (message.kind == Message::Kind::result || message.kind == Message::Kind::error) {
        finish_call(message);
    } else if (message.kind == Message::Kind::request) {
        start_request(message);
    } else if (message.kind == Message::Kind::notification) {
        if (message.method == kCancelRequest) {
            const auto found = inbound_.find(cancelled_id(*message.body));
            if (found != inbound_.end()) scope_.cancel(found->second);
            co_return;
        }
        const auto found = notification_handlers_.find(message.method);
        if (found == notification_handlers_.end()) co_return;  // JSON-RPC: never answered
        co_await found->second(std::move(*message.body));
    } else {
        if (stray_) stray_(std::move(line));
        if (message.kind == Message::Kind::invalid)
            enqueue(error_line(message.id, message.code, message.problem));
    }
}

asio::awaitable<void> Connection::Impl::read_lines() {
    LineBuffer lines(limits_.line);
    std::string buffer(kReadBytes, '\0');
    while (!closed_) {
        const auto [error, size] = co_await in_.async_read_some(asio::buffer(buffer), as_result);
        if (error) co_return;
        lines.feed(std::string_view(buffer).substr(0, size));
        while (auto line = lines.next()) co_await dispatch(std::move(*line));
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
        writing_.swap(outbox_);
        room_.notify();
        const auto [error, size] =
            co_await asio::async_write(out_, asio::buffer(writing_), as_result);
        writing_.clear();
        written_.cancel();
        if (error == asio::error::operation_aborted) co_return;
        if (error) {
            peer_gone(std::make_exception_ptr(
                Error(Errc::unavailable, "write to the peer: " + error.message())
            ));
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
    for (const auto& [id, task] : inbound_) scope_.cancel(task);
    room_.notify();
    boost::system::error_code ignored;
    in_.cancel(ignored);
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
    while (!outbox_.empty() || !writing_.empty()) {
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
    boost::system::error_code ignored;
    in_.close(ignored);
    out_.close(ignored);
    while (running_) co_await ended_.wait();
    co_await scope_.close();
}

Connection::Connection(
    asio::any_io_executor executor, UniqueFd in, UniqueFd out, ConnectionLimits limits
)
    : impl_(std::make_shared<Impl>(executor, std::move(in), std::move(out), limits)) {}

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

void Connection::post(const std::string& method, const Json& params) {
    impl_->enqueue(notification_line(method, params));
}

asio::awaitable<void> Connection::run() { return impl_->run(); }

asio::awaitable<void> Connection::flush(std::chrono::milliseconds deadline) {
    return impl_->flush(deadline);
}

asio::awaitable<void> Connection::close() { return impl_->close(); }

bool Connection::closed() const noexcept { return impl_->closed_; }

}  // namespace volary::acp
