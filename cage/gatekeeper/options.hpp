// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/credential.hpp"
#include "base/unique_fd.hpp"
#include "cage/denial.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace volary::cage {

/// What the gatekeeper tells its owner. All are called on the control thread and must not throw.
struct GatekeeperHooks {
    std::function<void(Denial)> denied;
    std::function<void(Connection)> closed;
    /// A connection of the cage to an internal name (volary.internal, models.volary.internal). The
    /// receiver owns the descriptor (connected, non-blocking); nothing was read from it. The socket
    /// it arrived on is the caller's identity.
    std::function<void(CageId, std::string name, UniqueFd)> internal;
};

struct GatekeeperConfig {
    /// The operator's own name -> address, asked before the resolver. Addresses given here are the
    /// operator's word and may be private.
    std::map<std::string, std::string> hosts;
    /// What rules may name as `credential`. Throws at construction when a header or value cannot
    /// stand in a request.
    std::map<std::string, Credential> credentials;
    /// Trusted roots beside the system's, PEM; empty: none.
    std::string ca_file;
    /// What names are reached through; never host.volary, overridden names and its exceptions.
    std::optional<UpstreamProxy> proxy;
    /// The whole value of Proxy-Authorization, e.g. "Basic dTpw"; empty: none.
    Secret proxy_authorization;
    /// New connections of one cage: so many at once, and so many a second in the long run. A
    /// parallel build opens some 100 within a second.
    unsigned connection_burst = 400;
    unsigned connections_per_second = 200;
    /// Questions to the cage's name server, as above; the next are refused. A browser asks some
    /// 100 at a start.
    unsigned dns_burst = 1000;
    unsigned dns_per_second = 500;
    /// Both ways together, for the life of a cage; nothing: unlimited.
    std::optional<std::uint64_t> max_bytes;
    /// Both ways together; 0: unlimited. More waits, and nothing is lost.
    std::uint64_t bytes_per_second = 0;
    /// Open connections of one cage; the next is reset and told as a "limit" denial. A browser
    /// uses 6 per name; a parallel package manager some 50.
    std::size_t max_connections = 256;
    /// Until the ClientHello or the request head is complete.
    std::chrono::milliseconds head_timeout{10'000};
    /// A client silent for this long speaks a server-first protocol (only where that is allowed).
    std::chrono::milliseconds silence{400};
    /// Resolving and connecting, each.
    std::chrono::milliseconds resolve_timeout{10'000};
    std::chrono::milliseconds connect_timeout{10'000};
    /// A relay in which no byte moved for this long ends.
    std::chrono::milliseconds idle_timeout{std::chrono::hours{1}};
};

}  // namespace volary::cage
