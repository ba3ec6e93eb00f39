// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/syscalls.hpp"

#include <string>

namespace volary::cage {

/// Whether refused calls of is_notified() wait for an answer of the shim, which tells the daemon.
enum class Notify { no, yes };

/// The two BPF programs (struct sock_filter[]) of a cage. The kernel asks both about each call and
/// the stricter answer counts; an errno is stricter than a notification, so what is notified has to
/// pass the first.
struct SeccompPrograms {
    /// As bwrap's --seccomp reads it, over everything in the cage. Refused calls fail with EPERM
    /// (sockets with EAFNOSUPPORT, clone3 with ENOSYS, so that libc falls back to clone); a call of
    /// another architecture (i386, x32) kills the process.
    std::string outer;
    /// What volary-init adds just before the command starts: the notified calls and the policy's
    /// `remove`. Empty when there is neither. Where nobody holds the listener any more, the kernel
    /// answers a notified call with ENOSYS.
    std::string inner;
};

/// Made by libseccomp once for each set of rules, and kept. Throws Error{invalid} as
/// check_seccomp() does, Error{internal} when libseccomp refuses.
SeccompPrograms seccomp_programs(const SeccompRules& rules, Notify notify);

}  // namespace volary::cage
