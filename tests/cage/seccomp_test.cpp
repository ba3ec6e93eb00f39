// SPDX-License-Identifier: Apache-2.0
#include "cage/seccomp.hpp"

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

/// What the kernel would answer: runs the classic BPF that libseccomp makes.
std::uint32_t verdict(SeccompProfile profile, const seccomp_data& data) {
    const auto& bytes = seccomp_filter(profile);
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

std::uint32_t call(
    int number, std::uint64_t a0 = 0, std::uint64_t a1 = 0, std::uint64_t a2 = 0,
    SeccompProfile profile = SeccompProfile::standard
) {
    return verdict(profile, {number, AUDIT_ARCH_X86_64, 0, {a0, a1, a2, 0, 0, 0}});
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
    CHECK(
        verdict(SeccompProfile::standard, {20, AUDIT_ARCH_I386, 0, {}}) == SECCOMP_RET_KILL_PROCESS
    );
    CHECK(call(0x40000000 | SYS_read) == SECCOMP_RET_KILL_PROCESS);
}
