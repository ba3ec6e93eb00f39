// SPDX-License-Identifier: Apache-2.0
#include "cage/syscalls.hpp"

#include "base/error.hpp"
#include "base/suggestion.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <seccomp.h>

namespace volary::cage {
namespace {

/// System calls newer than libseccomp 2.5.4 knows by name (arch/x86/entry/syscalls/syscall_64.tbl
/// of Linux 6.18; the numbers are the same on every architecture since 424).
struct NewerCall {
    std::string_view name;
    int number;
};
constexpr std::array kNewer{
    NewerCall{"set_mempolicy_home_node", 450},
    NewerCall{"cachestat", 451},
    NewerCall{"fchmodat2", 452},
    NewerCall{"map_shadow_stack", 453},
    NewerCall{"futex_wake", 454},
    NewerCall{"futex_wait", 455},
    NewerCall{"futex_requeue", 456},
    NewerCall{"statmount", 457},
    NewerCall{"listmount", 458},
    NewerCall{"lsm_get_self_attr", 459},
    NewerCall{"lsm_set_self_attr", 460},
    NewerCall{"lsm_list_modules", 461},
    NewerCall{"mseal", 462},
    NewerCall{"setxattrat", 463},
    NewerCall{"getxattrat", 464},
    NewerCall{"listxattrat", 465},
    NewerCall{"removexattrat", 466},
    NewerCall{"open_tree_attr", 467},
    NewerCall{"file_getattr", 468},
    NewerCall{"file_setattr", 469},
};
/// Above every number in use; names are looked for up to here.
constexpr int kHighestNumber = 470;

/// Calls that volary-init and the dynamic loader make before the command's first instruction.
constexpr std::array<std::string_view, 22> kNeeded{
    "execve",   "exit",       "exit_group", "rt_sigreturn", "mmap",       "munmap",
    "mprotect", "brk",        "open",       "openat",       "close",      "stat",
    "fstat",    "newfstatat", "read",       "pread64",      "arch_prctl", "set_tid_address",
    "sendto",   "sendmsg",    "recvfrom",   "seccomp"
};

/// Refused by their arguments, not by name: allowing all of one would undo a layer.
struct ByArgument {
    std::string_view name;
    std::string_view reason;
};
constexpr std::array kByArgument{
    ByArgument{"socket", "a network namespace does not confine the refused socket families"},
    ByArgument{"socketpair", "a network namespace does not confine the refused socket families"},
    ByArgument{"clone", "it is refused with namespace flags only, which would nest the cage's"},
    ByArgument{"clone3", "its flags cannot be seen; libc then uses clone, which works"},
    ByArgument{"ioctl", "it is refused only where it types into a terminal"},
};

constexpr std::array<std::string_view, 24> kNotified{
    "mount",  "umount2",     "pivot_root",  "chroot",        "open_tree",       "move_mount",
    "fsopen", "fsmount",     "fspick",      "mount_setattr", "unshare",         "setns",
    "ptrace", "pidfd_getfd", "bpf",         "init_module",   "finit_module",    "kexec_load",
    "keyctl", "add_key",     "request_key", "userfaultfd",   "perf_event_open", "io_uring_setup"
};

std::vector<SyscallClass> make_classes() {
    return {
        {"mount",
         "would change what the cage sees",
         {"mount", "umount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr",
          "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "statmount",
          "listmount"},
         Lift::no},
        {"namespaces", "would leave or nest the cage's namespaces", {"unshare", "setns"}, Lift::no},
        {"other processes",
         "would look into or take from processes",
         {"process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"}},
        {"ptrace", "would control other processes", {"ptrace"}, Lift::yes, true},
        {"kernel code",
         "would run code in the kernel",
         {"bpf", "init_module", "finit_module", "delete_module", "create_module", "kexec_load",
          "kexec_file_load", "reboot"},
         Lift::no},
        {"keys",
         "kernel keyrings are not confined by namespaces",
         {"keyctl", "add_key", "request_key"},
         Lift::no},
        {"io_uring",
         "its requests pass by this filter",
         {"io_uring_setup", "io_uring_enter", "io_uring_register"},
         Lift::no},
        {"large kernel surface",
         "rarely needed, often the way out",
         {"userfaultfd", "perf_event_open", "vmsplice", "lookup_dcookie", "nfsservctl", "sysfs",
          "_sysctl", "uselib", "ustat", "get_kernel_syms", "query_module", "afs_syscall",
          "security", "tuxcall", "vserver", "getpmsg", "putpmsg", "remap_file_pages", "modify_ldt"}
        },
        {"clock",
         "the host's time",
         {"clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex",
          "settimeofday", "stime"}},
        {"host",
         "the host's own settings",
         {"swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "sethostname",
          "setdomainname", "iopl", "ioperm", "vhangup"}},
        {"files by handle",
         "would open files outside of every mount",
         {"open_by_handle_at", "name_to_handle_at", "fanotify_init"},
         Lift::no},
        {"memory policy",
         "host-wide placement of memory",
         {"mbind", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages"}},
    };
}

template <class List>
bool contains(const List& list, std::string_view name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

const SyscallClass* class_of(std::string_view name) {
    for (const auto& group : refused_classes())
        if (contains(group.calls, name)) return &group;
    return nullptr;
}

/// Known on some architecture: a name that only another one has is no mistake.
bool is_syscall(std::string_view name) {
    if (syscall_number(name)) return true;
    return seccomp_syscall_resolve_name(std::string(name).c_str()) != __NR_SCMP_ERROR;
}

Error refusal(std::string_view key, std::string_view name, std::string_view why) {
    return {Errc::invalid, fmt::format("{}: \"{}\" {}", key, name, why)};
}

void check_name(std::string_view key, std::string_view name) {
    if (is_syscall(name)) return;
    Suggestion suggestion(name);
    for (int number = 0; number < kHighestNumber; ++number) suggestion.offer(syscall_name(number));
    auto hint = suggestion.hint();
    if (!hint.empty()) hint = "; " + hint;
    throw refusal(key, name, "is no system call" + hint);
}

/// Why `seccomp.add` may not allow this call; empty when it may.
std::string_view reason_against(std::string_view name) {
    for (const auto& each : kByArgument)
        if (each.name == name) return each.reason;
    const auto* group = class_of(name);
    return group != nullptr && group->lift == Lift::no ? group->reason : std::string_view();
}

}  // namespace

const std::vector<SyscallClass>& refused_classes() {
    static const auto classes = make_classes();
    return classes;
}

std::optional<int> syscall_number(std::string_view name) {
    const int number = seccomp_syscall_resolve_name(std::string(name).c_str());
    if (number >= 0) return number;
    for (const auto& newer : kNewer)
        if (newer.name == name) return newer.number;
    return std::nullopt;
}

std::string syscall_name(int number) {
    const std::unique_ptr<char, decltype(&std::free)> name(
        seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number), &std::free
    );
    if (name) return name.get();
    for (const auto& newer : kNewer)
        if (newer.number == number) return std::string(newer.name);
    return fmt::format("system call {}", number);
}

bool is_notified(std::string_view name) { return contains(kNotified, name); }

SeccompRules seccomp_rules(const CagePolicy& policy) {
    return {policy.seccomp, policy.seccomp_add, policy.seccomp_remove, policy.origins};
}

bool is_refused(const SeccompRules& rules, std::string_view name) {
    if (contains(rules.remove, name)) return true;
    const auto* group = class_of(name);
    if (group == nullptr || contains(rules.add, name)) return false;
    return !(group->relaxed && rules.profile == SeccompProfile::relaxed);
}

std::string rule_that_allows(std::string_view name) {
    if (class_of(name) == nullptr || !reason_against(name).empty()) return {};
    return fmt::format("seccomp: {{add: [{}]}}", name);
}

void check_seccomp(const SeccompRules& rules) {
    for (std::size_t i = 0; i < rules.add.size(); ++i) {
        const auto& name = rules.add[i];
        const auto key = named_key(rules.origins, fmt::format("seccomp.add[{}]", i));
        check_name(key, name);
        const auto reason = reason_against(name);
        if (!reason.empty())
            throw refusal(key, name, fmt::format("is refused in every cage: {}", reason));
        if (contains(rules.remove, name)) throw refusal(key, name, "is in seccomp.remove too");
    }
    for (std::size_t i = 0; i < rules.remove.size(); ++i) {
        const auto& name = rules.remove[i];
        const auto key = named_key(rules.origins, fmt::format("seccomp.remove[{}]", i));
        check_name(key, name);
        if (contains(kNeeded, name))
            throw refusal(key, name, "is needed to start the command at all");
    }
}

}  // namespace volary::cage
