// SPDX-License-Identifier: Apache-2.0
#include "cage/refused_call.hpp"

#include "cage/syscalls.hpp"

#include <algorithm>
#include <array>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

struct Word {
    std::uint64_t value;
    std::string_view name;
};
// The families of include/linux/socket.h that programs and attackers really ask for.
constexpr std::array kFamilies{
    Word{AF_AX25, "AF_AX25"},
    Word{AF_X25, "AF_X25"},
    Word{AF_KEY, "AF_KEY"},
    Word{AF_NETLINK, "AF_NETLINK"},
    Word{AF_PACKET, "AF_PACKET"},
    Word{AF_RDS, "AF_RDS"},
    Word{AF_CAN, "AF_CAN"},
    Word{AF_TIPC, "AF_TIPC"},
    Word{AF_BLUETOOTH, "AF_BLUETOOTH"},
    Word{AF_ALG, "AF_ALG"},
    Word{AF_NFC, "AF_NFC"},
    Word{AF_VSOCK, "AF_VSOCK"},
    Word{AF_KCM, "AF_KCM"},
    Word{AF_SMC, "AF_SMC"},
    Word{AF_XDP, "AF_XDP"},
};
constexpr std::array kNamespaces{
    Word{CLONE_NEWUSER, "user"},     Word{CLONE_NEWNS, "mount"}, Word{CLONE_NEWPID, "pid"},
    Word{CLONE_NEWNET, "net"},       Word{CLONE_NEWIPC, "ipc"},  Word{CLONE_NEWUTS, "uts"},
    Word{CLONE_NEWCGROUP, "cgroup"},
};

std::string family_name(std::uint64_t family) {
    for (const auto& each : kFamilies)
        if (each.value == family) return std::string(each.name);
    return fmt::format("family {}", family);
}

std::string namespaces_in(std::uint64_t flags) {
    std::string out;
    for (const auto& each : kNamespaces) {
        if ((flags & each.value) == 0) continue;
        out += (out.empty() ? "" : ", ") + std::string(each.name);
    }
    return out;
}

std::string printable(std::string text) {
    std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
    return text;
}

std::string words_for(const wire::DeniedCall& call, const std::string& name) {
    if (name == "socket" || name == "socketpair")
        return fmt::format("{} {}", name, family_name(call.argument));
    if (name == "clone")
        return fmt::format("clone of namespaces ({})", namespaces_in(call.argument));
    if (name == "ioctl") return call.argument == TIOCSTI ? "ioctl TIOCSTI" : "ioctl TIOCLINUX";
    return name;
}

}  // namespace

Denial to_denial(const wire::DeniedCall& call) {
    Denial out;
    out.layer = "syscall";
    out.count = call.count;
    if (call.number < 0) {
        out.what = "more refused calls than are told one by one";
        return out;
    }
    const auto name = syscall_name(call.number);
    out.what = words_for(call, name);
    out.rule = rule_that_allows(name);
    out.process = printable(call.command);
    if (!out.process.empty()) out.what += " by " + out.process;
    return out;
}

}  // namespace volary::cage
