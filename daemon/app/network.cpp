// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/network.hpp"

#include "base/log.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "daemon/app/config.hpp"

#include <algorithm>
#include <string>
#include <sys/resource.h>

namespace volary::app {
namespace {

// 5,000 connections, and what the daemon itself, its clients and its cages' listeners take.
constexpr rlim_t kWanted = 12'288;
constexpr rlim_t kOwn = 2'288;

}  // namespace

cage::GatekeeperConfig gatekeeper_config(const Config& config) {
    cage::GatekeeperConfig made;
    made.hosts = config.gatekeeper_hosts;
    const auto& share = config.network_share;
    // As in the defaults: what comes at once may be as much as two seconds' worth.
    const auto burst = [](unsigned rate) { return std::max(rate, rate * 2); };
    if (share.connections) made.max_connections = *share.connections;
    if (share.connections_per_second) {
        made.connections_per_second = *share.connections_per_second;
        made.connection_burst = burst(made.connections_per_second);
    }
    if (share.dns_per_second) {
        made.dns_per_second = *share.dns_per_second;
        made.dns_burst = burst(made.dns_per_second);
    }
    if (share.bytes) made.max_bytes = share.bytes->value;
    if (share.bytes_per_second) made.bytes_per_second = share.bytes_per_second->value;
    made.credentials = config.credentials;
    made.ca_file = config.ca_file;
    made.proxy = config.proxy;
    made.proxy_authorization = config.proxy_authorization;
    return made;
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    // Refused only by a security module; then the soft limit stays, and is what counts.
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) (void)::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= kWanted) return;
    const auto rest = limit.rlim_cur > kOwn ? (limit.rlim_cur - kOwn) / 2 : 0;
    log::warning(
        "the limit of open descriptors is low: beyond that many connections of cages wait",
        {{"limit", std::to_string(limit.rlim_cur)},
         {"connections", std::to_string(rest)},
         {"wanted", std::to_string(kWanted)}}
    );
}

}  // namespace volary::app
