// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/denial_log.hpp"

#include <algorithm>

namespace volary::cage {
namespace {

using namespace std::chrono_literals;

constexpr auto kRepeat = 10s;
constexpr auto kMinute = 60s;
// What an operator can still read, and a log can still hold when every cage does its worst.
constexpr std::uint32_t kMaxPerMinute = 50;
// More different attempts than that within 10 s are a scan: they are only counted.
constexpr std::size_t kMaxEntries = 256;

}  // namespace

bool DenialLog::admit(Time now) {
    if (told_this_minute_ == 0 || now - minute_ >= kMinute) {
        minute_ = now;
        told_this_minute_ = 0;
    }
    if (told_this_minute_ >= kMaxPerMinute) return false;
    ++told_this_minute_;
    return true;
}

std::vector<Denial> DenialLog::add(Denial denial, Time now) {
    auto due = flush(now);
    denial.cage = cage_;
    const auto key = std::pair(denial.layer, denial.what);
    const auto found = entries_.find(key);
    if (found != entries_.end()) {
        ++found->second.untold;
        return due;
    }
    if (entries_.size() >= kMaxEntries || !admit(now)) {
        ++suppressed_;
        if (suppressed_ == 1 && now - minute_ >= kMinute) minute_ = now;
        return due;
    }
    denial.count = 1;
    entries_.emplace(key, Entry{denial, now, 0});
    due.push_back(std::move(denial));
    return due;
}

std::vector<Denial> DenialLog::flush(Time now) {
    std::vector<Denial> due;
    // Asked first: what the loop tells begins a new minute.
    const bool minute_is_over = now - minute_ >= kMinute;
    for (auto entry = entries_.begin(); entry != entries_.end();) {
        auto& [denial, told, untold] = entry->second;
        if (now - told < kRepeat) {
            ++entry;
            continue;
        }
        if (untold == 0) {
            entry = entries_.erase(entry);
            continue;
        }
        if (admit(now)) {
            denial.count = untold;
            due.push_back(denial);
        } else {
            suppressed_ += untold;
        }
        told = now;
        untold = 0;
        ++entry;
    }
    if (suppressed_ > 0 && minute_is_over) {
        Denial summary;
        summary.cage = cage_;
        summary.layer = "limit";
        summary.what = "more refused attempts than are told one by one";
        summary.count = std::exchange(suppressed_, 0);
        due.push_back(std::move(summary));
    }
    return due;
}

std::optional<DenialLog::Time> DenialLog::next_flush() const {
    std::optional<Time> next;
    for (const auto& [key, entry] : entries_) {
        const auto at = entry.told + kRepeat;
        if (entry.untold > 0 && (!next || at < *next)) next = at;
    }
    if (suppressed_ > 0 && (!next || minute_ + kMinute < *next)) next = minute_ + kMinute;
    return next;
}

}  // namespace volary::cage
