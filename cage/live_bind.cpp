// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "cage/cage.hpp"
#include "cage/mounts.hpp"
#include "cage/protected_places.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// Two short-lived processes and a dozen system calls.
constexpr std::chrono::seconds kAnswer{15};
/// Mounted over, these would change what the cage is made of.
constexpr std::array kOwn{"/proc", "/dev", "/sys", "/.volary"};

std::string name_of(const FsRule& rule) {
    if (rule.origin.empty()) return fmt::format("bind \"{}\"", rule.source);
    return fmt::format("bind \"{}\" ({})", rule.source, rule.origin);
}

[[noreturn]] void at_next_start(const FsRule& rule, std::string_view why) {
    throw Error(
        Errc::unavailable, fmt::format("{}: {}; it holds at the next start", name_of(rule), why)
    );
}

void check_target(const FsRule& rule) {
    const bool own = std::any_of(kOwn.begin(), kOwn.end(), [&](const char* path) {
        return is_beneath(rule.target, path);
    });
    if (!is_normal(rule.target) || rule.target == "/" || own)
        throw Error(
            Errc::invalid, fmt::format("{}: \"{}\" is no place for it", name_of(rule), rule.target)
        );
}

}  // namespace

struct Cage::PendingMount {
    explicit PendingMount(const asio::any_io_executor& executor) : answered(executor) {}
    Completion answered;
    std::string step;
    int error = 0;
};

/// What the ruleset of running processes and the protected paths leave possible.
void Cage::check_live(const FsRule& rule) const {
    check_target(rule);
    if (bare_) throw Error(Errc::invalid, name_of(rule) + ": there is no cage");
    if (rule.mode != FsMode::ro && rule.mode != FsMode::rw)
        at_next_start(rule, "only ro and rw can be added to a running cage");
    // What is hidden or read-only there would be seen through the new mount as the host has it.
    for (const auto& place : places_)
        if (place != rule.target && is_beneath(place, rule.target))
            at_next_start(rule, fmt::format("it would cover \"{}\"", place));
    if (rule.mode == FsMode::ro) return;
    const bool writable =
        std::any_of(writable_.begin(), writable_.end(), [&](const std::string& place) {
            return is_beneath(rule.target, place);
        });
    if (!writable) at_next_start(rule, "processes that run keep what Landlock lets them write");
    if (workspace_.empty()) return;
    const auto places = find_protected(workspace_, RealHost());
    for (const auto* list : {&places.held, &places.unheld})
        for (const auto& path : *list)
            if (is_beneath(path, rule.source) || is_beneath(rule.source, path))
                at_next_start(rule, fmt::format("\"{}\" must stay read-only", path));
}

void Cage::on_mounted(const wire::Mounted& mounted) {
    const auto found = mounts_.find(mounted.request);
    if (found == mounts_.end()) return;
    found->second->step = mounted.step;
    found->second->error = mounted.error;
    found->second->answered.complete();
}

asio::awaitable<void> Cage::add_bind(FsRule rule) {
    auto self = shared_from_this();
    check_live(rule);
    const auto sources = open_sources({{rule.source, rule.root, name_of(rule)}});
    if (!control_.is_open() || init_pid_ < 0)
        throw Error(Errc::unavailable, name_of(rule) + ": the cage has ended");
    PendingMount pending(executor_);
    const auto request = ++next_bind_;
    const std::vector<int> fds{sources.front().get()};
    const wire::Mount frame{request, rule.target, rule.mode == FsMode::rw};
    if (!send_packet(control_.native_handle(), wire::encode(frame), fds))
        throw_errno("send", name_of(rule));
    mounts_[request] = &pending;
    bool answered = false;
    try {
        answered = co_await pending.answered.wait_for(kAnswer);
    } catch (...) {
        mounts_.erase(request);
        throw;
    }
    mounts_.erase(request);
    if (!answered) throw Error(Errc::timeout, name_of(rule) + ": the shim does not answer");
    if (!pending.step.empty())
        at_next_start(rule, fmt::format("{}: {}", pending.step, ::strerror(pending.error)));
    places_.push_back(rule.target);
}

}  // namespace volary::cage
