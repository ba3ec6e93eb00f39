// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/event.hpp"
#include "base/ids.hpp"

#include <memory>
#include <set>
#include <string>
#include <unordered_map>

namespace volary::session {

/// One message as every reader gets it; made once, shared by all sockets.
using Message = std::shared_ptr<const std::string>;

/// Who hears what happens now. Called on the control thread; must not block and must not change
/// the hub's lists from within a call.
class Listener {
public:
    virtual ~Listener() = default;
    /// A durable event, `{"event":{...}}`; in order of seq, without gaps, from follow() on.
    virtual void on_event(const SessionId& session, std::int64_t seq, const Message& json) = 0;
    /// A piece of streamed text, `{"delta":{...}}`.
    virtual void on_delta(const SessionId& session, const Message& json) = 0;
    /// A session's summary has changed, `{"summary":{...}}`.
    virtual void on_summary(const Message& json) = 0;
};

/// Fans out what the log has taken (persist, then acknowledge, then fan out). Control thread only.
/// A listener unfollows everything before it goes.
class Hub {
public:
    void follow(const SessionId& session, Listener& listener);
    void unfollow(const SessionId& session, Listener& listener);
    void follow_list(Listener& listener);
    void unfollow_list(Listener& listener);

    bool is_followed(const SessionId& session) const;
    bool is_list_followed() const noexcept { return !list_.empty(); }

    void publish(const Event& event);
    void publish_delta(const SessionId& session, const Message& json);
    void publish_summary(const Message& json);

private:
    std::unordered_map<SessionId, std::set<Listener*>> sessions_;
    std::set<Listener*> list_;
};

}  // namespace volary::session
