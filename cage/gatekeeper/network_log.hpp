// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/denial.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

namespace volary::cage {

/// Finished connections that are kept for each cage: what an operator scrolls through; a page of
/// the log is 50. Some 100 bytes each.
constexpr std::size_t kKeptConnections = 256;

/// The connections of one cage: the open ones, which are asked for their figures, and the last
/// kKeptConnections finished ones. Pure.
class NetworkLog {
public:
    using Id = std::uint64_t;
    /// How an open connection stands now.
    using Look = std::function<Connection()>;

    Id opened(Look look);
    void closed(Id id, Connection connection);
    void denied(std::uint64_t count) { denied_ += count; }

    std::size_t open() const noexcept { return open_.size(); }
    NetUse use() const;
    /// The open ones first, then the finished ones; the newest of each first.
    std::vector<Connection> list() const;

private:
    Id last_ = 0;
    std::map<Id, Look> open_;
    std::deque<Connection> finished_;
    std::uint64_t bytes_up_ = 0;
    std::uint64_t bytes_down_ = 0;
    std::uint64_t denied_ = 0;
};

}  // namespace volary::cage
