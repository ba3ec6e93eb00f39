// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/hub.hpp"

namespace volary::session {

void Hub::follow(const SessionId& session, Listener& listener) {
    sessions_[session].insert(&listener);
}

void Hub::unfollow(const SessionId& session, Listener& listener) {
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return;
    found->second.erase(&listener);
    if (found->second.empty()) sessions_.erase(found);
}

void Hub::follow_list(Listener& listener) { list_.insert(&listener); }
void Hub::unfollow_list(Listener& listener) { list_.erase(&listener); }

bool Hub::is_followed(const SessionId& session) const { return sessions_.contains(session); }

void Hub::publish(const Event& event) {
    const auto found = sessions_.find(event.session);
    if (found == sessions_.end()) return;
    auto json = std::make_shared<std::string>();
    json->reserve(event.body.size() + 224);
    json->append(R"({"event":)");
    append_event_json(*json, event);
    json->push_back('}');
    const Message message = std::move(json);
    for (auto* listener : found->second) listener->on_event(event.session, event.seq, message);
}

void Hub::publish_delta(const SessionId& session, const Message& json) {
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return;
    for (auto* listener : found->second) listener->on_delta(session, json);
}

void Hub::publish_summary(const Message& json) {
    for (auto* listener : list_) listener->on_summary(json);
}

}  // namespace volary::session
