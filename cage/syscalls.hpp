// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// Whether `seccomp.add` may allow the calls of a class: not where that would undo what another
/// layer promises.
enum class Lift { yes, no };

/// A class of refused system calls and why it is refused.
struct SyscallClass {
    std::string_view name;
    std::string_view reason;
    std::vector<std::string_view> calls;
    Lift lift = Lift::yes;
    bool relaxed = false;  ///< the `relaxed` profile allows it
};

/// The classes of the default profile, for `cage explain` and docs/cage.md.
const std::vector<SyscallClass>& refused_classes();

/// The number of a call on this architecture; nothing for a call that it does not have.
std::optional<int> syscall_number(std::string_view name);

/// "mount"; "system call 999" for one without a name.
std::string syscall_name(int number);

/// True for calls whose refusal is told (by user notification, where the kernel has it): few
/// programs try them without meaning to, and an operator wants to know.
bool is_notified(std::string_view name);

/// What a policy makes of the profile's list.
struct SeccompRules {
    SeccompProfile profile = SeccompProfile::standard;
    std::vector<std::string> add;     ///< allowed beyond the profile
    std::vector<std::string> remove;  ///< refused beyond the profile
    Origins origins = {};             ///< of "seccomp.add[0]" ...; for errors alone
};
SeccompRules seccomp_rules(const CagePolicy& policy);

/// True when the rules refuse this call whatever its arguments are.
bool is_refused(const SeccompRules& rules, std::string_view name);

/// The line of a policy that would allow a refused call, "seccomp: {add: [ptrace]}"; empty when
/// nothing does.
std::string rule_that_allows(std::string_view name);

/// Throws Error{invalid} naming the key, where it was written and the call: a name that no
/// architecture knows (with the nearest one), one that may not be allowed, or one without which
/// nothing starts.
void check_seccomp(const SeccompRules& rules);

}  // namespace volary::cage
