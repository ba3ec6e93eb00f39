// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/notify.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace volary::cage {
namespace {

constexpr std::uint64_t kRepeat = 10'000;
constexpr std::uint64_t kMinute = 60'000;
/// What an operator can still read.
constexpr std::uint32_t kMaxPerMinute = 50;
/// Names of commands are the cage's to choose: more kinds than that are only counted.
constexpr std::size_t kMaxEntries = 64;

/// About 10 us an answer: a flood gets at most a tenth of one CPU.
constexpr std::uint64_t kTurn = 100;
constexpr int kAnswersPerTurn = 1000;
/// Between two looks at the daemon and at the children.
constexpr int kAnswersPerPoll = 32;

/// TASK_COMM_LEN in include/linux/sched.h, its final zero included.
constexpr std::size_t kCommandSize = 16;

// From include/uapi/linux/seccomp.h of Linux 6.6; older headers lack it.
constexpr unsigned long kSetFlags = SECCOMP_IOW(4, std::uint64_t);
constexpr std::uint64_t kSyncWakeUp = 1;

/// Why the call was refused, where its number does not say it.
std::uint64_t telling_argument(const seccomp_data& data) {
    if (data.nr == SYS_socket || data.nr == SYS_socketpair || data.nr == SYS_clone)
        return static_cast<std::uint32_t>(data.args[0]);
    if (data.nr == SYS_ioctl) return static_cast<std::uint32_t>(data.args[1]);
    return 0;
}

int answer_for(int number) {
    return number == SYS_socket || number == SYS_socketpair ? EAFNOSUPPORT : EPERM;
}

std::string command_of(std::uint32_t pid) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%u/comm", pid);
    const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
    char text[kCommandSize] = {};
    const auto got = file ? ::read(file.get(), text, sizeof text) : 0;
    std::string out(text, got > 0 ? static_cast<std::size_t>(got) : 0);
    if (out.ends_with('\n')) out.pop_back();
    return out;
}

}  // namespace

bool CallCounter::admit(std::uint64_t now) {
    if (told_this_minute_ == 0 || now - minute_ >= kMinute) {
        minute_ = now;
        told_this_minute_ = 0;
    }
    if (told_this_minute_ >= kMaxPerMinute) return false;
    ++told_this_minute_;
    return true;
}

void CallCounter::rest(std::uint32_t count, std::uint64_t now) {
    if (rest_ == 0) rest_since_ = now;
    rest_ += count;
}

std::vector<wire::DeniedCall> CallCounter::add(wire::DeniedCall call, std::uint64_t now) {
    auto due = flush(now);
    const Key key{call.number, call.argument, call.command};
    const auto found = entries_.find(key);
    if (found != entries_.end()) {
        ++found->second.untold;
        found->second.call.pid = call.pid;
        return due;
    }
    if (entries_.size() >= kMaxEntries || !admit(now)) {
        rest(1, now);
        return due;
    }
    entries_.emplace(key, Entry{call, now, 0});
    due.push_back(std::move(call));
    return due;
}

std::vector<wire::DeniedCall> CallCounter::flush(std::uint64_t now) {
    std::vector<wire::DeniedCall> due;
    for (auto at = entries_.begin(); at != entries_.end();) {
        auto& [call, told, untold] = at->second;
        if (now - told < kRepeat) {
            ++at;
            continue;
        }
        if (untold == 0) {
            at = entries_.erase(at);
            continue;
        }
        if (admit(now)) {
            call.count = untold;
            due.push_back(call);
        } else {
            rest(untold, now);
        }
        told = now;
        untold = 0;
        ++at;
    }
    if (rest_ > 0 && now - rest_since_ >= kMinute) {
        due.push_back({-1, 0, 0, {}, rest_});
        rest_ = 0;
    }
    return due;
}

std::vector<wire::DeniedCall> CallCounter::finish() {
    std::vector<wire::DeniedCall> due;
    for (auto& [key, entry] : entries_) {
        if (entry.untold == 0) continue;
        entry.call.count = entry.untold;
        due.push_back(entry.call);
    }
    if (rest_ > 0) due.push_back({-1, 0, 0, {}, rest_});
    entries_.clear();
    rest_ = 0;
    return due;
}

std::optional<std::uint64_t> CallCounter::next_flush() const {
    std::optional<std::uint64_t> next;
    const auto consider = [&](std::uint64_t at) { next = next ? std::min(*next, at) : at; };
    for (const auto& [key, entry] : entries_)
        if (entry.untold > 0) consider(entry.told + kRepeat);
    if (rest_ > 0) consider(rest_since_ + kMinute);
    return next;
}

void Notifier::attach(UniqueFd listener) {
    listener_ = std::move(listener);
    // The waiting process goes on where we stood, without a trip through the scheduler's queues.
    (void)::ioctl(listener_.get(), kSetFlags, kSyncWakeUp);
}

int Notifier::poll_fd(std::uint64_t now) const {
    const bool rests = answers_ >= kAnswersPerTurn && now - turn_ < kTurn;
    return rests ? -1 : listener_.get();
}

int Notifier::poll_wait(std::uint64_t now) const {
    std::optional<std::uint64_t> next = counter_.next_flush();
    if (listener_ && poll_fd(now) < 0) next = std::min(next.value_or(~0ULL), turn_ + kTurn);
    if (!next) return -1;
    return *next <= now ? 0 : static_cast<int>(std::min<std::uint64_t>(*next - now, kMinute));
}

std::vector<wire::DeniedCall> Notifier::serve(short revents, std::uint64_t now) {
    auto due = counter_.flush(now);
    if (now - turn_ >= kTurn) {
        turn_ = now;
        answers_ = 0;
    }
    // A receive without something to receive would wait: so it follows a poll each time.
    for (int done = 0; (revents & POLLIN) != 0 && done < kAnswersPerPoll; ++done) {
        ++answers_;
        auto call = answer_one();
        if (call) std::ranges::move(counter_.add(std::move(*call), now), std::back_inserter(due));
        pollfd again{listener_.get(), POLLIN, 0};
        if (::poll(&again, 1, 0) < 1) return due;
        revents = again.revents;
    }
    // No process is left that the filter holds.
    if ((revents & POLLIN) == 0 && (revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
        listener_.reset();
    return due;
}

std::optional<wire::DeniedCall> Notifier::answer_one() {
    seccomp_notif asked{};
    // ENOENT: it was killed while it waited.
    if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) return std::nullopt;
    wire::DeniedCall call;
    call.number = asked.data.nr;
    call.argument = telling_argument(asked.data);
    call.pid = static_cast<std::int32_t>(asked.pid);
    call.command = command_of(asked.pid);
    // Its pid may be another's by now.
    if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &asked.id) < 0) call.command.clear();
    seccomp_notif_resp answer{};
    answer.id = asked.id;
    answer.error = -answer_for(asked.data.nr);
    (void)::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return call;
}

}  // namespace volary::cage
