// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"
#include "base/task_scope.hpp"
#include "daemon/api/services.hpp"
#include "daemon/session/hub.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace volary::http {
class Socket;
}

namespace volary::api {

/// One device's WebSocket: every subscription of it, replayed from the log and then live.
///
/// An event is sent exactly once per subscription and in order: while a subscription replays, what
/// happens meanwhile is left to the log, which has it already (persist, then fan out).
class Stream final : public session::Listener {
public:
    Stream(
        const asio::any_io_executor& executor, const Services& services,
        std::shared_ptr<http::Socket> socket, std::string name
    );
    ~Stream() override;

    /// Serves the socket until it closes.
    asio::awaitable<void> run();

    void on_event(const SessionId& session, std::int64_t seq, const session::Message& json)
        override;
    void on_delta(const SessionId& session, const session::Message& json) override;
    void on_summary(const session::Message& json) override;

private:
    struct Subscription {
        std::int64_t cursor = 0;  ///< last seq that was sent
        std::int64_t newest = 0;  ///< last seq that was published while it replayed
        bool live = false;
        std::int64_t turn = 0;  ///< a replay of an earlier subscription finds another one
    };

    void take(const std::string& message);
    void subscribe(const Json& what);
    void unsubscribe(const Json& what);
    asio::awaitable<void> replay(SessionId session, std::int64_t turn);
    asio::awaitable<bool> replay_page(SessionId session, std::int64_t turn);
    asio::awaitable<void> has_room();
    asio::awaitable<void> ping();
    /// Null when that subscription has ended or was replaced.
    Subscription* find(const SessionId& session, std::int64_t turn);
    void go_live(const SessionId& session, Subscription& subscription);
    void send(const Json& message);
    void refuse(const std::exception_ptr& failure);
    asio::awaitable<void> close();

    const Services& services_;
    std::shared_ptr<http::Socket> socket_;
    std::string name_;
    std::map<SessionId, Subscription> subscriptions_;
    std::int64_t turns_ = 0;
    TaskScope scope_;
};

}  // namespace volary::api
