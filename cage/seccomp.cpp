// SPDX-License-Identifier: Apache-2.0
#include "cage/seccomp.hpp"

#include "base/error.hpp"
#include "base/unique_fd.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <linux/seccomp.h>
#include <map>
#include <memory>
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

/// Sets of rules whose programs are kept; a host has one or two for each project.
constexpr std::size_t kMaxKept = 64;

/// libseccomp's own macros are C99 compound literals.
scmp_arg_cmp compare(unsigned argument, scmp_compare how, std::uint64_t a, std::uint64_t b = 0) {
    return {argument, how, a, b};
}

[[noreturn]] void fail(std::string_view what, int rc) {
    errno = -rc;
    throw_errno("make seccomp filter", what);
}

Context make_context() {
    Context context(seccomp_init(SCMP_ACT_ALLOW), &seccomp_release);
    if (!context) throw Error(Errc::internal, "make seccomp filter: out of memory");
    // i386 (int 0x80) and x32 have other numbers for the same calls: none of them is let in.
    int rc = seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc < 0) fail("architecture", rc);
    // A binary tree instead of a list: the filter runs at every system call.
    rc = seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc < 0) fail("optimise", rc);
    return context;
}

void refuse(scmp_filter_ctx context, std::string_view name, std::uint32_t action) {
    const auto number = syscall_number(name);
    if (!number) return;
    const int rc = seccomp_rule_add(context, action, *number, 0);
    if (rc < 0) fail(name, rc);
}

template <class... Rule>
void refuse_when(
    scmp_filter_ctx context, std::string_view name, std::uint32_t action, Rule... rules
) {
    const auto number = syscall_number(name);
    if (!number) return;
    const std::array<scmp_arg_cmp, sizeof...(rules)> list{rules...};
    const int rc = seccomp_rule_add_array(
        context, action, *number, static_cast<unsigned>(list.size()), list.data()
    );
    if (rc < 0) fail(name, rc);
}

/// clone with any namespace flag.
void refuse_namespaces(scmp_filter_ctx context, std::uint32_t action) {
    for (const int name :
         {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS,
          CLONE_NEWCGROUP}) {
        const auto flag = static_cast<std::uint64_t>(name);
        // Not CLONE_NEWTIME: its bit is part of the exit signal in clone's flags.
        refuse_when(context, "clone", action, compare(0, SCMP_CMP_MASKED_EQ, flag, flag));
    }
}

/// Allowed: unix, inet, inet6, and netlink for the route family only. A network namespace does not
/// confine the rest (AF_VSOCK reaches the hypervisor).
void refuse_sockets(scmp_filter_ctx context, std::string_view name, std::uint32_t action) {
    constexpr std::uint64_t kNetlink = AF_NETLINK;
    // The kernel takes the family as an int and ignores the upper half of the register. The
    // comparison sees 64 bits, so a family with a bit up there is "greater" and refused too.
    refuse_when(context, name, action, compare(0, SCMP_CMP_GT, kNetlink));
    for (std::uint64_t family = 0; family < AF_NETLINK; ++family) {
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
        refuse_when(context, name, action, compare(0, SCMP_CMP_EQ, family));
    }
    refuse_when(
        context, name, action, compare(0, SCMP_CMP_EQ, kNetlink),
        compare(2, SCMP_CMP_NE, 0)  // NETLINK_ROUTE
    );
}

/// Putting characters into a terminal's input, as if its owner had typed them.
void refuse_terminal_input(scmp_filter_ctx context, std::uint32_t action) {
    // The kernel looks at the low 32 bits only: without the mask 0x100005412 would pass.
    constexpr std::uint64_t kInt = 0xffffffffU;
    for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}})
        refuse_when(context, "ioctl", action, compare(1, SCMP_CMP_MASKED_EQ, kInt, request));
}

/// Asking for the current personality (0xffffffff) is fine, setting one is not: it can bring back
/// what newer kernels forbid (READ_IMPLIES_EXEC, mapping page 0), and nothing needs it but
/// debuggers, which do without.
void refuse_personality(scmp_filter_ctx context) {
    refuse_when(
        context, "personality", SCMP_ACT_ERRNO(EPERM),
        compare(0, SCMP_CMP_NE, std::uint64_t{0xffffffffU})
    );
}

/// A second listener could answer "go on" where ours says no.
void refuse_listeners(scmp_filter_ctx context) {
    constexpr std::uint64_t kListener = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    refuse_when(
        context, "seccomp", SCMP_ACT_ERRNO(EPERM),
        compare(1, SCMP_CMP_MASKED_EQ, kListener, kListener)
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

bool lists(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string build_outer(const SeccompRules& rules, Notify notify) {
    const auto context = make_context();
    const auto no = SCMP_ACT_ERRNO(EPERM);
    for (const auto& group : refused_classes()) {
        for (const auto name : group.calls) {
            const bool inner = notify == Notify::yes && is_notified(name);
            if (!inner && is_refused(rules, name)) refuse(context.get(), name, no);
        }
    }
    // Its flags are in memory, where no filter sees them.
    refuse(context.get(), "clone3", SCMP_ACT_ERRNO(ENOSYS));
    if (!lists(rules.add, "personality")) refuse_personality(context.get());
    if (notify == Notify::no) {
        refuse_namespaces(context.get(), no);
        for (const char* name : {"socket", "socketpair"})
            refuse_sockets(context.get(), name, SCMP_ACT_ERRNO(EAFNOSUPPORT));
        refuse_terminal_input(context.get(), no);
    }
    return export_program(context.get());
}

std::string build_inner(const SeccompRules& rules, Notify notify) {
    if (notify == Notify::no && rules.remove.empty()) return {};
    const auto context = make_context();
    for (const auto& name : rules.remove) {
        if (notify == Notify::no || !is_notified(name))
            refuse(context.get(), name, SCMP_ACT_ERRNO(EPERM));
    }
    if (notify == Notify::no) return export_program(context.get());
    for (const auto& group : refused_classes()) {
        for (const auto name : group.calls) {
            if (is_notified(name) && is_refused(rules, name))
                refuse(context.get(), name, SCMP_ACT_NOTIFY);
        }
    }
    // One call has one kind of rule: what is refused as a whole needs no look at its arguments.
    const auto open = [&](std::string_view name) { return !lists(rules.remove, name); };
    if (open("clone")) refuse_namespaces(context.get(), SCMP_ACT_NOTIFY);
    for (const char* name : {"socket", "socketpair"})
        if (open(name)) refuse_sockets(context.get(), name, SCMP_ACT_NOTIFY);
    if (open("ioctl")) refuse_terminal_input(context.get(), SCMP_ACT_NOTIFY);
    refuse_listeners(context.get());
    return export_program(context.get());
}

std::string key_of(const SeccompRules& rules, Notify notify) {
    std::string key{rules.profile == SeccompProfile::relaxed ? 'r' : 'd'};
    key += notify == Notify::yes ? 'n' : '-';
    for (const auto& name : rules.add) key += "+" + name;
    for (const auto& name : rules.remove) key += "-" + name;
    return key;
}

}  // namespace

SeccompPrograms seccomp_programs(const SeccompRules& rules, Notify notify) {
    static std::map<std::string, SeccompPrograms> kept;
    const auto key = key_of(rules, notify);
    const auto found = kept.find(key);
    if (found != kept.end()) return found->second;
    check_seccomp(rules);
    if (kept.size() >= kMaxKept) kept.clear();
    auto made = SeccompPrograms{build_outer(rules, notify), build_inner(rules, notify)};
    return kept.emplace(key, std::move(made)).first->second;
}

}  // namespace volary::cage
