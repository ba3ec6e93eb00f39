// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace volary::cage {
struct GatekeeperConfig;
}

namespace volary::app {

struct Config;

/// What the operator's config says about the cages' network.
cage::GatekeeperConfig gatekeeper_config(const Config& config);

/// Raises the soft limit of open descriptors to the hard one: a relayed connection takes two. Logs
/// a warning with the number of connections that fit when the hard limit is low.
void raise_descriptor_limit();

}  // namespace volary::app
