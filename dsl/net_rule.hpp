// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <expected>
#include <string>
#include <string_view>

namespace volary::dsl {

struct NetRuleProblem {
    std::string message;
    std::string hint;
};

/// Reads "host", "host:port", "*.domain:port", "10.0.0.0/8:443", "[2001:db8::]/32:443" or
/// "host.volary:11434"; the port is 443 where none is given (never for host.volary).
/// `text` of the result is the rule as written.
std::expected<NetRule, NetRuleProblem> parse_net_rule(std::string_view text);

/// True when the rule names an address that is reachable only with `private: true`: RFC 1918,
/// loopback, link-local, unique local, shared (100.64/10) and unspecified ones.
bool names_private_address(const NetRule& rule);

}  // namespace volary::dsl
