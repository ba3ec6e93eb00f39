// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/listen.hpp"

#include "base/error.hpp"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace volary::http {
namespace {

struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;

    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address tcp_address(const std::string& text, std::uint16_t port) {
    Address out;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        out.length = sizeof(sockaddr_in);
        return out;
    }
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        out.length = sizeof(sockaddr_in6);
        return out;
    }
    throw Error(Errc::invalid, "listen: \"" + text + "\" is not an IP address");
}

Address unix_address(const std::string& path) {
    Address out;
    auto* address = reinterpret_cast<sockaddr_un*>(&out.storage);
    if (path.empty() || path.size() >= sizeof(address->sun_path))
        throw Error(
            Errc::invalid, "socket path \"" + path + "\" must have 1 to " +
                               std::to_string(sizeof(address->sun_path) - 1) + " bytes"
        );
    address->sun_family = AF_UNIX;
    std::memcpy(address->sun_path, path.c_str(), path.size() + 1);
    out.length = sizeof(sockaddr_un);
    return out;
}

/// "127.0.0.1:7700" or "[::1]:7700"; empty for other families.
std::string render(const Address& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (address.storage.ss_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
        ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
        return std::string(text.data()) + ":" + std::to_string(ntohs(v4->sin_port));
    }
    if (address.storage.ss_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
        ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
        return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(v6->sin6_port));
    }
    return {};
}

Address local_address(int fd) {
    Address out;
    out.length = sizeof(out.storage);
    if (::getsockname(fd, out.get(), &out.length) != 0) throw_errno("getsockname");
    return out;
}

/// Removes the leftover of a dead process; anything else at that path is refused.
void clear_stale(const std::string& path, Address address) {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) {
        if (errno == ENOENT) return;
        throw_errno("stat", path);
    }
    if (!S_ISSOCK(found.st_mode))
        throw Error(Errc::invalid, "listen \"" + path + "\": a file that is no socket is there");
    const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe) throw_errno("socket");
    if (::connect(probe.get(), address.get(), address.length) == 0 || errno == EAGAIN)
        throw Error(Errc::conflict, "listen \"" + path + "\": another process answers there");
    if (errno != ECONNREFUSED) throw_errno("connect", path);
    if (::unlink(path.c_str()) != 0) throw_errno("unlink", path);
}

}  // namespace

UniqueFd listen_on_tcp(const std::string& address, std::uint16_t port) {
    auto where = tcp_address(address, port);
    const auto name = render(where);
    UniqueFd fd(
        ::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP)
    );
    if (!fd) throw_errno("socket", name);
    const int on = 1;
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        throw_errno("setsockopt", name);
    if (::bind(fd.get(), where.get(), where.length) != 0) throw_errno("listen", name);
    if (::listen(fd.get(), SOMAXCONN) != 0) throw_errno("listen", name);
    return fd;
}

UniqueFd listen_on_unix(const std::string& path, mode_t mode, struct stat& identity) {
    auto where = unix_address(path);
    clear_stale(path, where);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) throw_errno("socket", path);
    if (::bind(fd.get(), where.get(), where.length) != 0) throw_errno("listen", path);
    // The mode is set before listen(): until then every connect() is refused, so there is no
    // moment in which the umask decides. (The umask belongs to all threads.)
    if (::chmod(path.c_str(), mode) != 0) throw_errno("chmod", path);
    if (::lstat(path.c_str(), &identity) != 0) throw_errno("stat", path);
    if (::listen(fd.get(), SOMAXCONN) != 0) throw_errno("listen", path);
    return fd;
}

void remove_unix(const std::string& path, const struct stat& identity) noexcept {
    struct stat now{};
    if (::lstat(path.c_str(), &now) != 0) return;
    if (now.st_ino == identity.st_ino && now.st_dev == identity.st_dev) ::unlink(path.c_str());
}

int family_of(int fd) { return local_address(fd).storage.ss_family; }

std::uint16_t port_of(int fd) {
    const auto address = local_address(fd);
    if (address.storage.ss_family == AF_INET)
        return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
    if (address.storage.ss_family == AF_INET6)
        return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
    return 0;
}

Peer peer_of(int fd, const std::string& listener) {
    Peer peer;
    peer.listener = listener;
    const auto local = local_address(fd);
    if (local.storage.ss_family == AF_UNIX) {
        peer.kind = Peer::Kind::unix_socket;
        ucred credentials{};
        socklen_t length = sizeof credentials;
        if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
            throw_errno("getsockopt SO_PEERCRED", listener);
        peer.uid = credentials.uid;
        peer.pid = credentials.pid;
        peer.address = "unix";
        return peer;
    }
    peer.kind = Peer::Kind::tcp;
    peer.local = render(local);
    Address remote;
    remote.length = sizeof(remote.storage);
    if (::getpeername(fd, remote.get(), &remote.length) == 0) peer.address = render(remote);
    const int on = 1;
    // An answer is one write; waiting for more would only delay it.
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return peer;
}

}  // namespace volary::http
