// SPDX-License-Identifier: Apache-2.0
// Internal to daemon/http: what of a message passes through a proxy. Pure.
#pragma once

#include "daemon/http/types.hpp"
#include "daemon/http/upstream.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace volary::http {

/// How the body of a proxied message is framed.
struct BodyFraming {
    bool chunked = false;
    std::optional<std::uint64_t> length;
};

/// The head of `request` for the upstream: its own Host, no credential and no identity of the
/// operator (Cookie, Authorization, what tunnels and sidecars add), no hop-by-hop field
/// (RFC 9110, 7.6.1), X-Forwarded-For, -Host and -Proto; `websocket` keeps the handshake.
std::string upstream_head(
    const Request& request, const Upstream& upstream, const BodyFraming& framing, bool websocket
);

/// The head of the upstream's `answer` for the client. Fields pass by allowlist: an answer of a
/// cage comes from the daemon's own origin, and what may set cookies, policies or redirects of
/// that origin is a list that grows. The connection closes after the answer.
std::string client_head(
    const Response& answer, const Upstream& upstream, const BodyFraming& framing,
    std::string_view date_line
);

/// The head of a 101 answer to a WebSocket handshake, and to an upgrade to plain bytes.
std::string websocket_head(const Response& answer);
std::string bytes_head(const Upstream& upstream);

/// Where a Location of the upstream is outside: its own absolute paths and URLs get the prefix.
std::string outside_location(std::string_view location, const Upstream& upstream);

}  // namespace volary::http
