// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace volary::access {

/// A header that may stand at most once: how often it came, and its first value.
struct SingleHeader {
    std::size_t count = 0;
    std::string_view value;
};

/// What is known of a request before anybody acts on it. Views into the request.
struct RequestFacts {
    enum class Source { operator_socket, tcp, cage };
    Source source = Source::tcp;
    std::string_view method;
    bool websocket = false;   ///< the route is a WebSocket
    bool open = false;        ///< the route or page needs no sign-in
    bool capability = false;  ///< the path's token is judged by the route (published ports)
    SingleHeader host;
    SingleHeader origin;
    SingleHeader fetch_site;  ///< Sec-Fetch-Site
    SingleHeader client;      ///< X-Volary-Client
    std::string_view local;   ///< own address of a TCP connection, "127.0.0.1:7700"
    /// Operator socket: "uid N" when the kernel's peer may act as operator. TCP: "device NAME"
    /// when the cookie is good.
    std::optional<std::string_view> identity;
};

/// What the operator allows beyond the listener's own names, each exactly as a browser sends it.
struct Allowlist {
    std::vector<std::string> hosts;    ///< "volary.example" or "volary.example:8443"
    std::vector<std::string> origins;  ///< "https://volary.example"
};

struct Allow {
    std::string identity;  ///< empty for an open route without sign-in
};

struct Refuse {
    int status = 403;
    Errc code = Errc::denied;
    std::string_view message;
};

/// The whole door in one function without side effects: docs/security.md lists its rules in this
/// order. Every rule that can refuse is checked before identity is looked at.
std::variant<Allow, Refuse> decide(const RequestFacts& facts, const Allowlist& allowed);

/// True for methods that change nothing (RFC 9110, 9.2.1).
bool is_safe_method(std::string_view method) noexcept;

}  // namespace volary::access
