// SPDX-License-Identifier: Apache-2.0
#include "cage/init/filter.hpp"

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace volary::cage {
namespace {

// From include/uapi/linux/seccomp.h of Linux 5.19; older headers lack it.
constexpr unsigned kWaitKillable = 1U << 5U;

long set_filter(unsigned flags, sock_fprog& program) {
    return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

}  // namespace

StepResult read_filter(int file, FilterProgram& out) {
    out.clear();
    if (file < 0) return {};
    struct stat info{};
    if (::fstat(file, &info) < 0) return step_error("look at the filter");
    const auto size = static_cast<std::size_t>(info.st_size);
    out.resize(size / sizeof(sock_filter));
    const auto bytes = out.size() * sizeof(sock_filter);
    if (bytes == 0 || bytes != size || out.size() > BPF_MAXINSNS)
        return StepError{"read the filter", "not a program", 0};
    if (::pread(file, out.data(), bytes, 0) != static_cast<ssize_t>(bytes))
        return step_error("read the filter");
    return {};
}

StepResult install_filter(FilterProgram& program, bool with_listener, UniqueFd& listener) {
    if (program.empty()) {
        if (with_listener) return StepError{"set the filter", "there is none to listen to", 0};
        return {};
    }
    sock_fprog code{static_cast<unsigned short>(program.size()), program.data()};
    if (!with_listener) {
        if (set_filter(0, code) != 0) return step_error("set the filter");
        return {};
    }
    // With the flag, only a deadly signal ends the wait for an answer that is on its way: no call
    // is begun anew and counted twice.
    auto fd = set_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER | kWaitKillable, code);
    if (fd < 0) fd = set_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER, code);
    if (fd < 0) return step_error("set the filter", "with a listener");
    listener.reset(static_cast<int>(fd));
    return {};
}

bool can_notify() {
    FilterProgram program{BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    UniqueFd listener;
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return false;
    return !install_filter(program, true, listener);
}

}  // namespace volary::cage
