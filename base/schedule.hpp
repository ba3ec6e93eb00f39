// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace volary {

/// Asks the scheduler to let the calling thread run soon after it woke, for short turns, even when
/// others keep every CPU busy. Its share of time stays the same; processes and threads that it
/// starts do not inherit it. Needs no privilege, and is only a wish: kernels before 6.12 have no
/// such thing and change nothing.
void prefer_short_turns() noexcept;

/// For a thread that moves bulk: it waits for its turn when it woke instead of taking the CPU from
/// who runs, and so finds more to do at once (SCHED_BATCH). As above otherwise.
void prefer_bulk() noexcept;

}  // namespace volary
