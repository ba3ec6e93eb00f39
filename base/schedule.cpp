// SPDX-License-Identifier: Apache-2.0
#include "base/schedule.hpp"

#include <cstdint>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace volary {
namespace {

// struct sched_attr of include/uapi/linux/sched/types.h, first version; glibc has none before 2.41.
struct Attributes {
    std::uint32_t size = sizeof(Attributes);
    std::uint32_t policy = SCHED_OTHER;
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime_ns = 0;  ///< the length of a turn
    std::uint64_t deadline_ns = 0;
    std::uint64_t period_ns = 0;
};

constexpr std::uint64_t kResetOnFork = 1;      // SCHED_FLAG_RESET_ON_FORK
constexpr std::uint64_t kShortTurn = 100'000;  // the least that the kernel takes
constexpr std::uint64_t kUsualTurn = 0;

void wish(std::uint32_t policy, std::uint64_t turn) noexcept {
    Attributes now;
    // The nice value is part of what is set: what the operator gave stays.
    if (::syscall(SYS_sched_getattr, 0, &now, sizeof now, 0U) != 0) return;
    Attributes wanted;
    wanted.policy = policy;
    wanted.flags = kResetOnFork;
    wanted.nice = now.nice;
    wanted.runtime_ns = turn;
    (void)::syscall(SYS_sched_setattr, 0, &wanted, 0U);
}

}  // namespace

void prefer_short_turns() noexcept { wish(SCHED_OTHER, kShortTurn); }

void prefer_bulk() noexcept { wish(SCHED_BATCH, kUsualTurn); }

}  // namespace volary
