// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/network.hpp"

#include <arpa/inet.h>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace volary::cage {
namespace {

/// The loopback device is the first of every network namespace (net/core/dev.c).
constexpr int kLoopbackIndex = 1;
/// Pending connections of one listener; the daemon accepts at once, so this is slack.
constexpr int kBacklog = 128;

struct RouteRequest {
    nlmsghdr header;
    rtmsg route;
    rtattr attribute;
    int device;
};

/// Asks for `local default dev lo` of one family and waits for the kernel's answer; 0 or an errno.
int add_local_default(int netlink, unsigned char family) {
    RouteRequest request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_NEWROUTE;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK;
    request.route.rtm_family = family;
    request.route.rtm_table = RT_TABLE_LOCAL;
    request.route.rtm_type = RTN_LOCAL;
    request.route.rtm_protocol = RTPROT_STATIC;
    request.route.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    request.attribute.rta_type = RTA_OIF;
    request.attribute.rta_len = RTA_LENGTH(sizeof(int));
    request.device = kLoopbackIndex;
    if (::send(netlink, &request, sizeof request, 0) < 0) return errno;
    alignas(nlmsghdr) char answer[512];
    const auto got = ::recv(netlink, answer, sizeof answer, 0);
    if (got < 0) return errno;
    nlmsghdr header{};
    nlmsgerr body{};
    if (static_cast<std::size_t>(got) < NLMSG_LENGTH(sizeof body)) return EPROTO;
    std::memcpy(&header, answer, sizeof header);
    std::memcpy(&body, answer + NLMSG_HDRLEN, sizeof body);
    return header.nlmsg_type == NLMSG_ERROR ? -body.error : EPROTO;
}

StepResult raise_loopback() {
    const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!any) return step_error("socket", "for lo");
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (::ioctl(any.get(), SIOCSIFFLAGS, &request) < 0) return step_error("bring up", "lo");
    return {};
}

/// Fills `out`; 0 when `address` is no IP literal.
socklen_t to_socket_address(const wire::BindSpec& spec, sockaddr_storage& out) {
    sockaddr_in v4{};
    if (::inet_pton(AF_INET, spec.address.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(spec.port);
        std::memcpy(&out, &v4, sizeof v4);
        return sizeof v4;
    }
    sockaddr_in6 v6{};
    if (::inet_pton(AF_INET6, spec.address.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(spec.port);
        std::memcpy(&out, &v6, sizeof v6);
        return sizeof v6;
    }
    return 0;
}

bool set_option(int socket, int level, int name) {
    const int on = 1;
    return ::setsockopt(socket, level, name, &on, sizeof on) == 0;
}

}  // namespace

StepResult write_file(const char* path, const char* text) {
    const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
    if (!file) return step_error("open", path);
    const auto size = std::strlen(text);
    if (::write(file.get(), text, size) != static_cast<ssize_t>(size))
        return step_error("write", path);
    return {};
}

StepResult enter_namespaces() {
    const auto uid = ::getuid();
    const auto gid = ::getgid();
    if (uid == 0 || ::geteuid() == 0) {
        errno = EPERM;
        return step_error("refuse uid 0", "a cage is never started by root");
    }
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return step_error("unshare", "user and network namespace");
    if (auto failed = write_file("/proc/self/setgroups", "deny")) return failed;
    char map[64];
    std::snprintf(map, sizeof map, "%u %u 1", uid, uid);
    if (auto failed = write_file("/proc/self/uid_map", map)) return failed;
    std::snprintf(map, sizeof map, "%u %u 1", gid, gid);
    return write_file("/proc/self/gid_map", map);
}

StepResult set_up_loopback() {
    if (auto failed = raise_loopback()) return failed;
    const UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!netlink) return step_error("socket", "netlink");
    for (const auto family : {AF_INET, AF_INET6}) {
        errno = add_local_default(netlink.get(), static_cast<unsigned char>(family));
        if (errno != 0)
            return step_error("add route", family == AF_INET ? "0.0.0.0/0" : "::/0 (IPv6)");
    }
    return write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
}

UniqueFd bind_socket(const wire::BindSpec& spec) {
    sockaddr_storage address{};
    const auto size = to_socket_address(spec, address);
    if (size == 0) {
        errno = EINVAL;
        return {};
    }
    if (spec.kind == wire::BindSpec::Kind::outgoing)
        return UniqueFd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const bool stream = spec.kind == wire::BindSpec::Kind::tcp;
    const int type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
    UniqueFd socket(::socket(address.ss_family, type, 0));
    if (!socket) return {};
    if (!set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR)) return {};
    if (!set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT)) return {};
    if (address.ss_family == AF_INET6) {
        if (!set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY)) return {};
        // IPv4 binds to what the local route covers; IPv6 asks for an interface's own address.
        if (!set_option(socket.get(), IPPROTO_IPV6, IPV6_FREEBIND)) return {};
    }
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) < 0) return {};
    if (stream && ::listen(socket.get(), kBacklog) < 0) return {};
    return socket;
}

UniqueFd open_packet_socket() {
    // Protocol 0 first: with ETH_P_ALL in socket() the kernel waits for an RCU grace period that
    // costs 8-29 ms; bound afterwards it is about 1 ms.
    UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return {};
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = kLoopbackIndex;
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return {};
    return socket;
}

StepResult drop_capabilities() {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return step_error("set no_new_privs");
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return step_error("clear ambient capabilities");
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    if (::syscall(SYS_capset, &header, none) < 0) return step_error("drop capabilities");
    return {};
}

}  // namespace volary::cage
