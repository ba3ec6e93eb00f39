// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"
#include "base/secret.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace volary {

/// What the gatekeeper adds to a request on the way out, so that the cage never holds it
/// (`credential:` of a rule, `[credentials.NAME]` of the operator's config).
struct Credential {
    std::string header;  ///< of the request, as written in the config, e.g. "authorization"
    Secret value;        ///< the whole header value, prefix and all, e.g. "Bearer abc"
    /// Where it may go, names and wildcards with their port; it is never sent anywhere else
    /// (covers_target). Never empty.
    std::vector<NetRule> hosts;
};

/// `[proxy]` of the operator's config: what the daemon's outward connections go through.
struct UpstreamProxy {
    bool tls = false;  ///< https:// is spoken to the proxy itself
    std::string host;  ///< a name, or an address without brackets; never empty
    std::uint16_t port = 0;
    /// Dialled directly: exact lower-case names and addresses, and ".domain" for every name below.
    std::vector<std::string> except;
};

}  // namespace volary
