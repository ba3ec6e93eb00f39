// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// A class of refused system calls and why it is refused.
struct SyscallClass {
    std::string_view name;
    std::string_view reason;
    std::vector<std::string_view> calls;
    bool relaxed = false;  ///< the `relaxed` profile allows it
};

/// The classes of the default profile, for `cage explain` and docs/cage.md.
const std::vector<SyscallClass>& refused_classes();

/// The BPF program (struct sock_filter[]) of a profile, as bwrap's --seccomp reads it. Made by
/// libseccomp at the first call and kept. Refused calls fail with EPERM (sockets with
/// EAFNOSUPPORT, clone3 with ENOSYS, so that libc falls back to clone); a call of another
/// architecture (i386, x32) kills the process. Throws Error{internal} when libseccomp refuses.
const std::string& seccomp_filter(SeccompProfile profile);

}  // namespace volary::cage
