// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/network_log.hpp"

#include <ranges>
#include <utility>

namespace volary::cage {

NetworkLog::Id NetworkLog::opened(Look look) {
    open_.emplace(++last_, std::move(look));
    return last_;
}

void NetworkLog::closed(Id id, Connection connection) {
    open_.erase(id);
    bytes_up_ += connection.bytes_up;
    bytes_down_ += connection.bytes_down;
    finished_.push_back(std::move(connection));
    if (finished_.size() > kKeptConnections) finished_.pop_front();
}

NetUse NetworkLog::use() const {
    NetUse use{open_.size(), last_, bytes_up_, bytes_down_, denied_};
    for (const auto& [id, look] : open_) {
        const auto now = look();
        use.bytes_up += now.bytes_up;
        use.bytes_down += now.bytes_down;
    }
    return use;
}

std::vector<Connection> NetworkLog::list() const {
    std::vector<Connection> out;
    out.reserve(open_.size() + finished_.size());
    for (const auto& [id, look] : open_ | std::views::reverse) {
        out.push_back(look());
        out.back().open = true;
    }
    for (const auto& connection : finished_ | std::views::reverse) out.push_back(connection);
    return out;
}

}  // namespace volary::cage
