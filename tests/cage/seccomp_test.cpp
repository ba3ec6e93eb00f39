// SPDX-License-Identifier: Apache-2.0
#include "cage/seccomp.hpp"

#include "base/error.hpp"
#include "cage/refused_call.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <vector>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using Catch::Contains;
using Catch::Equals;

namespace {

std::uint32_t load(const seccomp_data& data, std::uint32_t offset) {
    std::uint32_t out = 0;
    std::memcpy(&out, reinterpret_cast<const char*>(&data) + offset, sizeof out);
    return out;
}

bool holds(const sock_filter& step, std::uint32_t a) {
    switch (BPF_OP(step.code)) {
        case BPF_JEQ:
            return a == step.k;
        case BPF_JGT:
            return a > step.k;
        case BPF_JGE:
            return a >= step.k;
        default:
            return (a & step.k) != 0;
    }
}

/// What the kernel would make of one program: runs the classic BPF that libseccomp makes.
std::uint32_t verdict(const std::string& bytes, const seccomp_data& data) {
    std::vector<sock_filter> code(bytes.size() / sizeof(sock_filter));
    std::memcpy(code.data(), bytes.data(), bytes.size());
    std::uint32_t a = 0;
    for (std::size_t at = 0; at < code.size(); ++at) {
        const auto& step = code[at];
        if (BPF_CLASS(step.code) == BPF_RET) return step.k;
        if (BPF_CLASS(step.code) == BPF_LD) a = load(data, step.k);
        if (BPF_CLASS(step.code) == BPF_ALU && BPF_OP(step.code) == BPF_AND) a &= step.k;
        if (BPF_CLASS(step.code) != BPF_JMP) continue;
        if (BPF_OP(step.code) == BPF_JA)
            at += step.k;
        else
            at += holds(step, a) ? step.jt : step.jf;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

/// Of both programs: the kernel takes the action with the lower number, as a signed one
/// (seccomp(2), "precedence").
std::uint32_t verdict(const SeccompPrograms& programs, const seccomp_data& data) {
    const auto outer = verdict(programs.outer, data);
    if (programs.inner.empty()) return outer;
    const auto inner = verdict(programs.inner, data);
    const auto rank = [](std::uint32_t action) {
        return static_cast<std::int32_t>(action & SECCOMP_RET_ACTION_FULL);
    };
    return rank(inner) <= rank(outer) ? inner : outer;
}

seccomp_data make_call(
    int number, std::uint64_t a0 = 0, std::uint64_t a1 = 0, std::uint64_t a2 = 0
) {
    return {number, AUDIT_ARCH_X86_64, 0, {a0, a1, a2, 0, 0, 0}};
}

std::uint32_t call(
    int number, std::uint64_t a0 = 0, std::uint64_t a1 = 0, std::uint64_t a2 = 0,
    SeccompProfile profile = SeccompProfile::standard
) {
    return verdict(seccomp_programs({profile, {}, {}}, Notify::no), make_call(number, a0, a1, a2));
}

std::uint32_t told(int number, std::uint64_t a0 = 0, std::uint64_t a1 = 0, std::uint64_t a2 = 0) {
    return verdict(seccomp_programs({}, Notify::yes), make_call(number, a0, a1, a2));
}

std::uint32_t by_rules(const SeccompRules& rules, int number, Notify notify = Notify::no) {
    return verdict(seccomp_programs(rules, notify), make_call(number));
}

std::string problem(SeccompRules rules) {
    try {
        (void)seccomp_programs(rules, Notify::yes);
    } catch (const Error& error) {
        CHECK(error.code() == Errc::invalid);
        return error.what();
    }
    return {};
}

constexpr std::uint32_t refused(int error) {
    return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error);
}

}  // namespace

TEST_CASE("ordinary calls pass", "[seccomp]") {
    for (const int number :
         {SYS_read, SYS_execve, SYS_fork, SYS_openat, SYS_prctl, SYS_setrlimit, SYS_close_range,
          SYS_landlock_create_ruleset, SYS_pidfd_open})
        CHECK(call(number) == SECCOMP_RET_ALLOW);
    CHECK(call(SYS_clone, SIGCHLD) == SECCOMP_RET_ALLOW);
    CHECK(call(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND) == SECCOMP_RET_ALLOW);
    CHECK(call(SYS_personality, 0xffffffff) == SECCOMP_RET_ALLOW);
}

TEST_CASE("each refused class answers EPERM", "[seccomp]") {
    for (const int number :
         {SYS_mount,
          SYS_umount2,
          SYS_pivot_root,
          SYS_chroot,
          SYS_unshare,
          SYS_setns,
          SYS_bpf,
          SYS_ptrace,
          SYS_keyctl,
          SYS_userfaultfd,
          SYS_perf_event_open,
          SYS_io_uring_setup,
          SYS_kexec_load,
          SYS_init_module,
          SYS_clock_settime,
          SYS_swapon,
          SYS_quotactl,
          SYS_open_by_handle_at,
          SYS_process_vm_readv,
          SYS_pidfd_getfd,
          SYS_kcmp})
        CHECK(call(number) == refused(EPERM));
    for (const int flag : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET})
        CHECK(call(SYS_clone, static_cast<std::uint64_t>(flag) | SIGCHLD) == refused(EPERM));
    CHECK(call(SYS_clone3) == refused(ENOSYS));
    CHECK(call(SYS_personality, 0x0040000) == refused(EPERM));
}

TEST_CASE("the relaxed profile allows a debugger", "[seccomp]") {
    CHECK(call(SYS_ptrace, 0, 0, 0, SeccompProfile::relaxed) == SECCOMP_RET_ALLOW);
    CHECK(call(SYS_mount, 0, 0, 0, SeccompProfile::relaxed) == refused(EPERM));
}

TEST_CASE("only local and internet sockets and the route family", "[seccomp]") {
    for (const std::uint64_t family : {1U, 2U, 10U})  // unix, inet, inet6
        CHECK(call(SYS_socket, family, SOCK_STREAM) == SECCOMP_RET_ALLOW);
    CHECK(call(SYS_socket, AF_NETLINK, SOCK_RAW, 0) == SECCOMP_RET_ALLOW);
    CHECK(call(SYS_socket, AF_NETLINK, SOCK_RAW, 9) == refused(EAFNOSUPPORT));
    for (std::uint64_t family = AF_NETLINK + 1; family < 64; ++family)
        CHECK(call(SYS_socket, family) == refused(EAFNOSUPPORT));
    // The kernel drops the upper half of the register, the filter must not be fooled by it.
    CHECK(call(SYS_socket, (std::uint64_t{1} << 32U) | AF_VSOCK) == refused(EAFNOSUPPORT));
    CHECK(call(SYS_socket, AF_ALG) == refused(EAFNOSUPPORT));
}

TEST_CASE("nothing can be typed into a terminal", "[seccomp]") {
    for (const std::uint64_t request :
         {0x5412ULL, 0x541cULL, 0x1'0000'5412ULL, 0xffffffff'0000541cULL})
        CHECK(call(SYS_ioctl, 0, request) == refused(EPERM));
    CHECK(call(SYS_ioctl, 0, 0x5413) == SECCOMP_RET_ALLOW);
}

TEST_CASE("a call of another architecture kills", "[seccomp]") {
    for (const auto notify : {Notify::no, Notify::yes}) {
        const auto programs = seccomp_programs({}, notify);
        CHECK(verdict(programs, {20, AUDIT_ARCH_I386, 0, {}}) == SECCOMP_RET_KILL_PROCESS);
        CHECK(verdict(programs, make_call(0x40000000 | SYS_read)) == SECCOMP_RET_KILL_PROCESS);
    }
}

TEST_CASE("what is told passes the outer filter and waits at the inner one", "[seccomp]") {
    for (const int number :
         {SYS_mount, SYS_unshare, SYS_setns, SYS_ptrace, SYS_bpf, SYS_keyctl, SYS_io_uring_setup,
          SYS_perf_event_open, SYS_userfaultfd, SYS_init_module}) {
        CHECK(told(number) == SECCOMP_RET_USER_NOTIF);
        CHECK(
            verdict(seccomp_programs({}, Notify::yes).outer, make_call(number)) == SECCOMP_RET_ALLOW
        );
    }
    CHECK(told(SYS_clone, CLONE_NEWUSER | SIGCHLD) == SECCOMP_RET_USER_NOTIF);
    CHECK(told(SYS_socket, AF_VSOCK) == SECCOMP_RET_USER_NOTIF);
    CHECK(told(SYS_socket, AF_NETLINK, SOCK_RAW, 9) == SECCOMP_RET_USER_NOTIF);
    CHECK(told(SYS_ioctl, 0, 0x1'0000'5412ULL) == SECCOMP_RET_USER_NOTIF);
    // What is not on the list is refused as ever, and what was allowed still is.
    CHECK(told(SYS_swapon) == refused(EPERM));
    CHECK(told(SYS_clone3) == refused(ENOSYS));
    CHECK(told(SYS_personality, 0x0040000) == refused(EPERM));
    CHECK(told(SYS_socket, AF_INET6, SOCK_STREAM) == SECCOMP_RET_ALLOW);
    CHECK(told(SYS_clone, SIGCHLD) == SECCOMP_RET_ALLOW);
    CHECK(told(SYS_ioctl, 0, 0x5413) == SECCOMP_RET_ALLOW);
}

TEST_CASE("a caged program cannot have a listener of its own", "[seccomp]") {
    CHECK(told(SYS_seccomp, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER) == refused(EPERM));
    CHECK(told(SYS_seccomp, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER | 1U) == refused(EPERM));
    CHECK(told(SYS_seccomp, 1, 0) == SECCOMP_RET_ALLOW);
}

TEST_CASE("every call refused without telling is refused with it", "[seccomp]") {
    for (int number = 0; number < 470; ++number) {
        const bool allowed = call(number) == SECCOMP_RET_ALLOW;
        CHECK((told(number) == SECCOMP_RET_ALLOW) == allowed);
    }
}

TEST_CASE("a policy adds and removes calls by name", "[seccomp]") {
    for (const auto notify : {Notify::no, Notify::yes}) {
        CHECK(by_rules({{}, {"ptrace"}, {}}, SYS_ptrace, notify) == SECCOMP_RET_ALLOW);
        CHECK(by_rules({{}, {"kcmp"}, {}}, SYS_kcmp, notify) == SECCOMP_RET_ALLOW);
        CHECK(by_rules({{}, {"ptrace"}, {}}, SYS_mount, notify) != SECCOMP_RET_ALLOW);
        CHECK(by_rules({{}, {}, {"chmod"}}, SYS_chmod, notify) == refused(EPERM));
        CHECK(by_rules({{}, {}, {"chmod"}}, SYS_fchmod, notify) == SECCOMP_RET_ALLOW);
        CHECK(by_rules({{}, {}, {"socket"}}, SYS_socket, notify) == refused(EPERM));
        CHECK(by_rules({{}, {}, {"keyctl"}}, SYS_keyctl, notify) != SECCOMP_RET_ALLOW);
    }
    const SeccompRules strict{SeccompProfile::relaxed, {}, {"ptrace"}};
    CHECK(by_rules(strict, SYS_ptrace) == refused(EPERM));
    CHECK(seccomp_programs({}, Notify::no).inner.empty());
    CHECK(by_rules({{}, {"personality"}, {}}, SYS_personality) == SECCOMP_RET_ALLOW);
}

TEST_CASE("rules that cannot be enforced name the call and the reason", "[seccomp]") {
    CHECK_THAT(
        problem({{}, {"ptrase"}, {}}),
        Equals("seccomp.add[0]: \"ptrase\" is no system call; did you mean \"ptrace\"?")
    );
    CHECK_THAT(
        problem({{}, {}, {"zzzzzzzz"}}), Equals("seccomp.remove[0]: \"zzzzzzzz\" is no system call")
    );
    for (const char* name :
         {"mount", "unshare", "bpf", "keyctl", "open_by_handle_at", "io_uring_setup"})
        CHECK_THAT(problem({{}, {name}, {}}), Contains("is refused in every cage"));
    for (const char* name : {"socket", "clone", "clone3", "ioctl"})
        CHECK_THAT(problem({{}, {name}, {}}), Contains("is refused in every cage"));
    for (const char* name : {"execve", "exit_group", "mmap", "openat"})
        CHECK_THAT(problem({{}, {}, {name}}), Contains("is needed to start"));
    CHECK_THAT(problem({{}, {"kcmp"}, {"kcmp"}}), Contains("is in seccomp.remove too"));
    // Another architecture has it.
    CHECK(problem({{}, {}, {"umount"}}).empty());
}

TEST_CASE("a refused call is told in words that a rule could hold", "[seccomp]") {
    const auto denial = to_denial({SYS_ptrace, 0, 7, "gdb", 3});
    CHECK(denial.layer == "syscall");
    CHECK(denial.what == "ptrace by gdb");
    CHECK(denial.process == "gdb");
    CHECK(denial.rule == "seccomp: {add: [ptrace]}");
    CHECK(denial.count == 3);
    CHECK(to_denial({SYS_socket, AF_VSOCK, 7, "x", 1}).what == "socket AF_VSOCK by x");
    CHECK(to_denial({SYS_socket, 45, 7, "x", 1}).what == "socket family 45 by x");
    CHECK(
        to_denial({SYS_clone, CLONE_NEWUSER | CLONE_NEWNET, 7, "x", 1}).what ==
        "clone of namespaces (user, net) by x"
    );
    CHECK(to_denial({SYS_ioctl, 0x5412, 7, "x", 1}).what == "ioctl TIOCSTI by x");
    CHECK(to_denial({SYS_mount, 0, 7, "", 1}).what == "mount");
    CHECK(to_denial({SYS_mount, 0, 7, "a\x1b[2J\n", 1}).process == "a?[2J?");
    CHECK(to_denial({SYS_mount, 0, 7, "sh", 1}).rule.empty());
    CHECK(to_denial({-1, 0, 0, "", 9}).count == 9);
}
