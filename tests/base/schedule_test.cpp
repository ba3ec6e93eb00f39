// SPDX-License-Identifier: Apache-2.0
#include "base/schedule.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

using namespace volary;

namespace {

/// What a child of the calling thread is scheduled by.
int policy_of_child() {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(::sched_getscheduler(0));
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct Seen {
    int policy = -1, child = -1, nice = 0;
};

/// In a thread of its own: the wish cannot be taken back.
Seen after(void (*wish)()) {
    Seen seen;
    std::thread([&] {
        (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 3);
        wish();
        seen.policy = ::sched_getscheduler(0);
        seen.child = policy_of_child();
        seen.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
    }).join();
    return seen;
}

}  // namespace

TEST_CASE("a thread's wish for turns stays its own, and its nice value what it was", "[schedule]") {
    const auto control = after([] { prefer_short_turns(); });
    CHECK(control.policy == (SCHED_OTHER | SCHED_RESET_ON_FORK));
    CHECK(control.child == SCHED_OTHER);
    CHECK(control.nice == 3);

    const auto bulk = after([] { prefer_bulk(); });
    CHECK(bulk.policy == (SCHED_BATCH | SCHED_RESET_ON_FORK));
    CHECK(bulk.nice == 3);
}
