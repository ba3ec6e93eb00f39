// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/channel.hpp"

#include "cage/shim/protocol.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <sys/socket.h>

namespace volary::cage {
namespace {

constexpr std::size_t kControlSize =
    CMSG_SPACE(sizeof(int) * (wire::kMaxFds + 1)) + CMSG_SPACE(sizeof(ucred));

void take_control(msghdr& message, Packet& out) {
    for (auto* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET) continue;
        if (c->cmsg_type == SCM_RIGHTS) {
            const auto count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (std::size_t i = 0; i < count; ++i) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
                out.fds.emplace_back(fd);
            }
        }
        if (c->cmsg_type == SCM_CREDENTIALS) {
            ucred who{};
            std::memcpy(&who, CMSG_DATA(c), sizeof who);
            out.sender_pid = who.pid;
        }
    }
}

}  // namespace

bool send_packet(int socket, std::string_view bytes, const std::vector<int>& fds, Wait wait) {
    if (fds.size() > wire::kMaxFds || bytes.size() > wire::kMaxFrame) {
        errno = EMSGSIZE;
        return false;
    }
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[kControlSize] = {};
    if (!fds.empty()) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
        auto* c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
        std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
    }
    ssize_t sent = 0;
    const int flags = MSG_NOSIGNAL | (wait == Wait::no ? MSG_DONTWAIT : 0);
    do sent = ::sendmsg(socket, &message, flags);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

Received receive_packet(int socket, Packet& out) {
    out = {};
    // One byte more than a frame may have, so that a longer one is seen as too long. Kept between
    // calls: each program receives on one thread only.
    // Not zeroed: pages that no frame reaches are never touched.
    static thread_local const auto buffer =
        std::make_unique_for_overwrite<char[]>(wire::kMaxFrame + 1);
    iovec part{buffer.get(), wire::kMaxFrame + 1};
    alignas(cmsghdr) char control[kControlSize] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t got = 0;
    // A peer that ended without reading all that we sent is reported once, before what it said last
    // (unix(7)); that is what we are here for.
    do got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0) return errno == EAGAIN ? Received::again : Received::closed;
    take_control(message, out);
    const auto size = static_cast<std::size_t>(got);
    if (size == 0 || size > wire::kMaxFrame) return Received::closed;
    if ((message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) return Received::closed;
    out.bytes.assign(buffer.get(), size);
    return Received::packet;
}

}  // namespace volary::cage
