// SPDX-License-Identifier: Apache-2.0
#include "daemon/api/stream.hpp"

#include "base/error.hpp"
#include "daemon/api/request.hpp"
#include "daemon/http/router.hpp"
#include "daemon/http/socket.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/store/store.hpp"

#include <chrono>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

constexpr std::chrono::seconds kPing{25};       // below the 60-100 s after which proxies cut
constexpr std::int64_t kReplayPage = 500;       // a page of the log per read
constexpr std::size_t kReplayRoom = 1U << 20U;  // unsent bytes beyond which a replay waits
constexpr std::chrono::milliseconds kRoomCheck{10};
constexpr std::size_t kMaxSubscriptions = 256;  // sessions that one device follows

Json error_json(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const Error& error) {
        return {
            {"code", to_string(error.code())},
            {"message", error.what()},
            {"details", error.details()}
        };
    } catch (...) {
        return {{"code", "internal"}, {"message", "internal error"}, {"details", Json::array()}};
    }
}

asio::awaitable<void> serve(
    const Services& services, std::shared_ptr<http::Socket> socket, std::string name
) {
    const auto executor = co_await asio::this_coro::executor;
    Stream stream(executor, services, std::move(socket), std::move(name));
    co_await stream.run();
}

}  // namespace

Stream::Stream(
    const asio::any_io_executor& executor, const Services& services,
    std::shared_ptr<http::Socket> socket, std::string name
)
    : services_(services),
      socket_(std::move(socket)),
      name_(std::move(name)),
      scope_(executor, log_task_errors()) {}

Stream::~Stream() {
    services_.hub.unfollow_list(*this);
    for (const auto& [session, subscription] : subscriptions_)
        services_.hub.unfollow(session, *this);
}

asio::awaitable<void> Stream::run() {
    send(
        {{"hello",
          {{"epoch", services_.store.epoch()}, {"version", VOLARY_VERSION}, {"name", name_}}}}
    );
    scope_.spawn("ping", ping());
    std::exception_ptr failure;
    try {
        while (auto message = co_await socket_->receive()) take(*message);
    } catch (...) {
        failure = std::current_exception();
    }
    // A server that waits no longer for its sockets cancels this coroutine, whose next co_await
    // would throw and leave the tasks to run on without their stream.
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await close();
    if (failure) std::rethrow_exception(failure);
}

asio::awaitable<void> Stream::close() {
    // Nothing more arrives for tasks that are about to end.
    services_.hub.unfollow_list(*this);
    for (const auto& [session, subscription] : subscriptions_)
        services_.hub.unfollow(session, *this);
    co_await scope_.close();
}

void Stream::take(const std::string& message) {
    try {
        const auto parsed = parse_json(message);
        if (!parsed) throw Error(Errc::invalid, "message: " + parsed.error());
        Fields fields(*parsed, "message");
        const auto* wanted = fields.optional_value("subscribe");
        const auto* unwanted = fields.optional_value("unsubscribe");
        fields.optional_integer("pong");
        fields.done();
        if (wanted != nullptr) subscribe(*wanted);
        if (unwanted != nullptr) unsubscribe(*unwanted);
    } catch (const Error&) {
        refuse(std::current_exception());
    }
}

void Stream::subscribe(const Json& what) {
    Fields fields(what, "subscribe");
    const auto list = fields.optional_boolean("list");
    const auto session = fields.optional_string("session");
    const auto after = fields.optional_integer("after").value_or(0);
    if (list.value_or(false) == session.has_value())
        fields.problem("session", "needs either session or \"list\":true");
    if (session && !is_id(*session, SessionTag::prefix))
        fields.problem("session", "is no session id");
    if (after < 0) fields.problem("after", "must not be negative");
    fields.done();
    if (!session) {
        services_.hub.follow_list(*this);
        return;
    }
    if (subscriptions_.size() >= kMaxSubscriptions)
        throw Error(Errc::busy, fmt::format("at most {} sessions at once", kMaxSubscriptions));
    const SessionId id(*session);
    // Asked again: it begins again, from where the client says it is.
    unsubscribe({{"session", *session}});
    auto& subscription = subscriptions_[id];
    subscription.cursor = after;
    services_.hub.follow(id, *this);
    subscription.turn = ++turns_;
    scope_.spawn("replay " + *session, replay(id, subscription.turn));
}

void Stream::unsubscribe(const Json& what) {
    Fields fields(what, "unsubscribe");
    const SessionId id(fields.string("session"));
    fields.done();
    const auto found = subscriptions_.find(id);
    if (found == subscriptions_.end()) return;
    services_.hub.unfollow(id, *this);
    subscriptions_.erase(found);
}

Stream::Subscription* Stream::find(const SessionId& session, std::int64_t turn) {
    const auto found = subscriptions_.find(session);
    return found != subscriptions_.end() && found->second.turn == turn ? &found->second : nullptr;
}

asio::awaitable<void> Stream::replay(SessionId session, std::int64_t turn) {
    try {
        co_await services_.sessions.last_seq(session);
        bool more = true;
        while (more) more = co_await replay_page(session, turn);
    } catch (const Error&) {
        refuse(std::current_exception());
        if (find(session, turn) == nullptr) co_return;
        services_.hub.unfollow(session, *this);
        subscriptions_.erase(session);
    }
}

asio::awaitable<bool> Stream::replay_page(SessionId session, std::int64_t turn) {
    co_await has_room();
    const auto* before = find(session, turn);
    if (before == nullptr) co_return false;
    const auto page = co_await services_.store.events(session, before->cursor, kReplayPage);
    auto* subscription = find(session, turn);
    if (subscription == nullptr) co_return false;
    for (const auto& event : page) {
        std::string json = R"({"event":)";
        append_event_json(json, event);
        json.push_back('}');
        if (!socket_->send(std::move(json))) co_return false;
        subscription->cursor = event.seq;
    }
    if (!page.empty() || subscription->newest > subscription->cursor) co_return true;
    go_live(session, *subscription);
    co_return false;
}

void Stream::go_live(const SessionId& session, Subscription& subscription) {
    Json items = Json::array();
    for (const auto& item : services_.sessions.open_items(session))
        items.push_back(
            {{"item", item.item.str()},
             {"invocation", item.invocation.str()},
             {"kind", item.kind},
             {"text", item.text}}
        );
    send(
        {{"live",
          {{"session", session.str()}, {"seq", subscription.cursor}, {"items", std::move(items)}}}}
    );
    subscription.live = true;
}

asio::awaitable<void> Stream::has_room() {
    asio::steady_timer timer(scope_.executor());
    while (socket_->queued() > kReplayRoom) {
        timer.expires_after(kRoomCheck);
        co_await timer.async_wait(asio::use_awaitable);
    }
}

asio::awaitable<void> Stream::ping() {
    asio::steady_timer timer(scope_.executor());
    for (std::int64_t count = 1;; ++count) {
        timer.expires_after(kPing);
        co_await timer.async_wait(asio::use_awaitable);
        send({{"ping", count}, {"at", services_.clock.now_ms()}});
    }
}

void Stream::on_event(const SessionId& session, std::int64_t seq, const session::Message& json) {
    const auto found = subscriptions_.find(session);
    if (found == subscriptions_.end()) return;
    auto& subscription = found->second;
    subscription.newest = seq;
    if (!subscription.live || seq <= subscription.cursor) return;
    subscription.cursor = seq;
    // A socket that is too slow closes itself: the device comes back with `after`.
    (void)socket_->send(json);
}

void Stream::on_delta(const SessionId& session, const session::Message& json) {
    const auto found = subscriptions_.find(session);
    if (found != subscriptions_.end() && found->second.live) (void)socket_->send(json);
}

void Stream::on_summary(const session::Message& json) { (void)socket_->send(json); }

void Stream::send(const Json& message) { (void)socket_->send(dump_json(message)); }

void Stream::refuse(const std::exception_ptr& failure) { send({{"error", error_json(failure)}}); }

void Api::add_stream_route() {
    http::RouteOptions options;
    options.summary = "events of sessions, replayed and live (WebSocket)";
    const auto open = [this](std::shared_ptr<http::Socket> socket, http::Request& request) {
        return serve(services_, std::move(socket), request.identity);
    };
    router_.websocket("/api/v1/stream", http::SocketHandler(open), options);
}

Api::Api(Services services, http::Router& router) : services_(services), router_(router) {
    add_open_routes();
    add_status_routes();
    add_project_routes();
    add_session_routes();
    add_control_routes();
    add_cage_routes();
    add_grant_routes();
    add_changes_routes();
    add_port_routes();
    add_history_routes();
    add_stream_route();
}

}  // namespace volary::api
