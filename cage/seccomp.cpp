// SPDX-License-Identifier: Apache-2.0
#include "cage/seccomp.hpp"

#include "base/error.hpp"
#include "base/unique_fd.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <seccomp.h>

namespace volary::cage {
namespace {

using Context = std::unique_ptr<void, decltype(&seccomp_release)>;

/// System calls newer than libseccomp 2.5.4 knows by name (arch/x86/entry/syscalls/syscall_64.tbl
/// of Linux 6.12; the numbers are the same on every architecture since 424).
struct NewerCall {
    std::string_view name;
    int number;
};
constexpr std::array kNewer{
    NewerCall{"fchmodat2", 452},         NewerCall{"map_shadow_stack", 453},
    NewerCall{"statmount", 457},         NewerCall{"listmount", 458},
    NewerCall{"lsm_get_self_attr", 459}, NewerCall{"lsm_set_self_attr", 460},
    NewerCall{"lsm_list_modules", 461},  NewerCall{"open_tree_attr", 467},
};

std::vector<SyscallClass> make_classes() {
    return {
        {"mount",
         "would change what the cage sees",
         {"mount", "umount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr",
          "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "statmount",
          "listmount"}},
        {"namespaces", "would leave or nest the cage's namespaces", {"unshare", "setns"}},
        {"other processes",
         "would look into or take from processes",
         {"process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"}},
        {"ptrace", "would control other processes", {"ptrace"}, true},
        {"kernel code",
         "would run code in the kernel",
         {"bpf", "init_module", "finit_module", "delete_module", "create_module", "kexec_load",
          "kexec_file_load", "reboot"}},
        {"keys",
         "kernel keyrings are not confined by namespaces",
         {"keyctl", "add_key", "request_key"}},
        {"large kernel surface", "rarely needed, often the way out", {"userfaultfd",
                                                                      "perf_event_open",
                                                                      "io_uring_setup",
                                                                      "io_uring_enter",
                                                                      "io_uring_register",
                                                                      "vmsplice",
                                                                      "lookup_dcookie",
                                                                      "nfsservctl",
                                                                      "sysfs",
                                                                      "_sysctl",
                                                                      "uselib",
                                                                      "ustat",
                                                                      "get_kernel_syms",
                                                                      "query_module",
                                                                      "afs_syscall",
                                                                      "security",
                                                                      "tuxcall",
                                                                      "vserver",
                                                                      "getpmsg",
                                                                      "putpmsg",
                                                                      "remap_file_pages",
                                                                      "modify_ldt"}},
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
         {"open_by_handle_at", "name_to_handle_at", "fanotify_init"}},
        {"memory policy",
         "host-wide placement of memory",
         {"mbind", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages"}},
    };
}

/// libseccomp's own macros are C99 compound literals.
scmp_arg_cmp compare(unsigned argument, scmp_compare how, std::uint64_t a, std::uint64_t b = 0) {
    return {argument, how, a, b};
}

[[noreturn]] void fail(std::string_view what, int rc) {
    errno = -rc;
    throw_errno("make seccomp filter", what);
}

/// Nothing for a call that this architecture does not have.
std::optional<int> number_of(std::string_view name) {
    const int number = seccomp_syscall_resolve_name(std::string(name).c_str());
    if (number >= 0) return number;
    for (const auto& newer : kNewer)
        if (newer.name == name) return newer.number;
    return std::nullopt;
}

void refuse(scmp_filter_ctx context, std::string_view name, std::uint32_t action) {
    const auto number = number_of(name);
    if (!number) return;
    const int rc = seccomp_rule_add(context, action, *number, 0);
    if (rc < 0) fail(name, rc);
}

template <class... Rule>
void refuse_when(
    scmp_filter_ctx context, std::string_view name, std::uint32_t action, Rule... rules
) {
    const auto number = number_of(name);
    if (!number) return;
    const std::array<scmp_arg_cmp, sizeof...(rules)> list{rules...};
    const int rc = seccomp_rule_add_array(
        context, action, *number, static_cast<unsigned>(list.size()), list.data()
    );
    if (rc < 0) fail(name, rc);
}

/// clone with any namespace flag; clone3 hides its flags in memory, so it does not exist here.
void refuse_namespaces(scmp_filter_ctx context) {
    refuse(context, "clone3", SCMP_ACT_ERRNO(ENOSYS));
    for (const int name :
         {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS,
          CLONE_NEWCGROUP}) {
        const auto flag = static_cast<std::uint64_t>(name);
        // Not CLONE_NEWTIME: its bit is part of the exit signal in clone's flags.
        refuse_when(
            context, "clone", SCMP_ACT_ERRNO(EPERM), compare(0, SCMP_CMP_MASKED_EQ, flag, flag)
        );
    }
}

/// Allowed: unix, inet, inet6, and netlink for the route family only. A network namespace does not
/// confine the rest (AF_VSOCK reaches the hypervisor).
void refuse_sockets(scmp_filter_ctx context) {
    constexpr std::uint64_t kNetlink = AF_NETLINK;
    const auto no_family = SCMP_ACT_ERRNO(EAFNOSUPPORT);
    for (const char* name : {"socket", "socketpair"}) {
        // The kernel takes the family as an int and ignores the upper half of the register. The
        // comparison sees 64 bits, so a family with a bit up there is "greater" and refused too.
        refuse_when(context, name, no_family, compare(0, SCMP_CMP_GT, kNetlink));
        for (std::uint64_t family = 0; family < AF_NETLINK; ++family) {
            if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
            refuse_when(context, name, no_family, compare(0, SCMP_CMP_EQ, family));
        }
        refuse_when(
            context, name, no_family, compare(0, SCMP_CMP_EQ, kNetlink),
            compare(2, SCMP_CMP_NE, 0)  // NETLINK_ROUTE
        );
    }
}

/// Putting characters into a terminal's input, as if its owner had typed them.
void refuse_terminal_input(scmp_filter_ctx context) {
    // The kernel looks at the low 32 bits only: without the mask 0x100005412 would pass.
    constexpr std::uint64_t kInt = 0xffffffffU;
    for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}})
        refuse_when(
            context, "ioctl", SCMP_ACT_ERRNO(EPERM), compare(1, SCMP_CMP_MASKED_EQ, kInt, request)
        );
}

/// Asking for the current personality (0xffffffff) is fine, setting one is not.
void refuse_personality(scmp_filter_ctx context) {
    refuse_when(
        context, "personality", SCMP_ACT_ERRNO(EPERM),
        compare(0, SCMP_CMP_NE, std::uint64_t{0xffffffffU})
    );
}

std::string export_program(scmp_filter_ctx context) {
    const UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
    if (!file) throw_errno("memfd_create", "seccomp filter");
    const int rc = seccomp_export_bpf(context, file.get());
    if (rc < 0) fail("export", rc);
    const auto size = ::lseek(file.get(), 0, SEEK_END);
    if (size <= 0) throw_errno("lseek", "seccomp filter");
    std::string out(static_cast<std::size_t>(size), '\0');
    if (::pread(file.get(), out.data(), out.size(), 0) != size)
        throw_errno("read", "seccomp filter");
    return out;
}

std::string build(SeccompProfile profile) {
    const Context context(seccomp_init(SCMP_ACT_ALLOW), &seccomp_release);
    if (!context) throw Error(Errc::internal, "make seccomp filter: out of memory");
    // i386 (int 0x80) and x32 have other numbers for the same calls: none of them is let in.
    int rc = seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc < 0) fail("architecture", rc);
    // A binary tree instead of a list: the filter runs at every system call.
    rc = seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc < 0) fail("optimise", rc);
    for (const auto& group : refused_classes()) {
        if (group.relaxed && profile == SeccompProfile::relaxed) continue;
        for (const auto name : group.calls) refuse(context.get(), name, SCMP_ACT_ERRNO(EPERM));
    }
    refuse_namespaces(context.get());
    refuse_sockets(context.get());
    refuse_terminal_input(context.get());
    refuse_personality(context.get());
    return export_program(context.get());
}

}  // namespace

const std::vector<SyscallClass>& refused_classes() {
    static const auto classes = make_classes();
    return classes;
}

const std::string& seccomp_filter(SeccompProfile profile) {
    static const std::string standard = build(SeccompProfile::standard);
    static const std::string relaxed = build(SeccompProfile::relaxed);
    return profile == SeccompProfile::relaxed ? relaxed : standard;
}

}  // namespace volary::cage
