// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/credential.hpp"

#include <optional>
#include <string_view>

namespace volary::app {

/// "http://host:port" and "https://host:port"; nothing for what is not one.
std::optional<UpstreamProxy> parse_proxy(std::string_view url);

/// True for a header's name (RFC 9110, 5.6.2) that neither frames the request nor is the
/// gatekeeper's own.
bool may_carry_credential(std::string_view header);

}  // namespace volary::app
