// SPDX-License-Identifier: Apache-2.0
// Internal to daemon/http: plain socket calls, so that their errors name what they failed on.
#pragma once

#include "base/unique_fd.hpp"
#include "daemon/http/types.hpp"

#include <cstdint>
#include <string>
#include <sys/stat.h>
#include <sys/types.h>

namespace volary::http {

/// Listens on an IP literal. Throws Error{invalid} for anything else, Error{io} naming it.
UniqueFd listen_on_tcp(const std::string& address, std::uint16_t port);

/// See Server::listen_unix. `identity` becomes the file's, so that close() removes no other one.
UniqueFd listen_on_unix(const std::string& path, mode_t mode, struct stat& identity);

/// Removes the socket file if it is still the one with that identity.
void remove_unix(const std::string& path, const struct stat& identity) noexcept;

/// The address family of a socket.
int family_of(int fd);

/// The port that a listening TCP socket is bound to, 0 for others.
std::uint16_t port_of(int fd);

/// Who is at the other end of an accepted connection.
Peer peer_of(int fd, const std::string& listener);

}  // namespace volary::http
