// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/group.hpp"

#include <algorithm>
#include <grp.h>
#include <pwd.h>
#include <utility>
#include <vector>

namespace volary::access {
namespace {

constexpr UnixMillis kKeepMs = 30'000;
/// More users than ever speak to one socket; then the memory starts over.
constexpr std::size_t kMaxKnown = 256;
/// NGROUPS_MAX of Linux.
constexpr int kMaxGroups = 65'536;

bool look_up(uid_t uid, const std::string& group) {
    // One thread reads the databases, so the static buffers of these calls are ours.
    const auto* entry = ::getgrnam(group.c_str());
    if (entry == nullptr) return false;
    const gid_t wanted = entry->gr_gid;
    const auto* user = ::getpwuid(uid);
    if (user == nullptr) return false;
    const std::string name = user->pw_name;
    const gid_t primary = user->pw_gid;
    int count = 64;
    std::vector<gid_t> groups(static_cast<std::size_t>(count));
    while (::getgrouplist(name.c_str(), primary, groups.data(), &count) < 0) {
        count = std::max(count, static_cast<int>(groups.size()) * 2);
        if (count > kMaxGroups) return false;
        groups.resize(static_cast<std::size_t>(count));
    }
    groups.resize(static_cast<std::size_t>(count));
    return std::find(groups.begin(), groups.end(), wanted) != groups.end();
}

}  // namespace

GroupMembers::GroupMembers(std::string group, const Clock& clock)
    : group_(std::move(group)), clock_(clock) {}

bool GroupMembers::has(uid_t uid) {
    const auto now = clock_.now_ms();
    if (const auto found = known_.find(uid); found != known_.end() && now < found->second.until)
        return found->second.member;
    if (known_.size() >= kMaxKnown) known_.clear();
    const bool member = look_up(uid, group_);
    known_[uid] = {member, now + kKeepMs};
    return member;
}

}  // namespace volary::access
