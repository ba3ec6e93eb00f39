// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"

#include <map>
#include <string>
#include <sys/types.h>

namespace volary::access {

/// Tells which users are in one group of the host, by its user database (getgrouplist(3)).
/// Answers are kept for half a minute: the database may be a file or the network.
class GroupMembers {
public:
    GroupMembers(std::string group, const Clock& clock);

    /// False for unknown users and when there is no such group.
    bool has(uid_t uid);

private:
    struct Known {
        bool member = false;
        UnixMillis until = 0;
    };
    std::string group_;
    const Clock& clock_;
    std::map<uid_t, Known> known_;
};

}  // namespace volary::access
