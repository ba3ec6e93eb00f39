// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/credential.hpp"
#include "cage/gatekeeper/net_io.hpp"
#include "cage/gatekeeper/stream.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

class Resolver;
class TlsContext;
struct GatekeeperConfig;

/// Whom to open a connection to, once it was decided that it may be.
struct UpstreamTarget {
    std::string name;  ///< also the name that a certificate must have
    std::uint16_t port = 0;
    /// Exactly these are dialled, unless it goes through the proxy.
    std::vector<Address> addresses;
    bool by_proxy = false;
    bool tls = false;
    /// The cage's first bytes are there and go out as soon as it is open.
    bool speaks = false;
};

/// An open connection, or why there is none.
struct Upstream {
    DescriptorPtr socket;
    std::unique_ptr<Stream> stream;
    /// What the peer said before it was asked (behind a proxy's answer).
    std::string early;
    /// Of the network log, when there is no stream: "connect", "proxy" or "tls".
    std::string verdict;
    /// For "tls" and "proxy": why, in words; holds no secret.
    std::string problem;
};

/// True when connections to `name` go through `proxy`: neither it nor a domain above it is among
/// the exceptions. Pure.
bool goes_by_proxy(const UpstreamProxy& proxy, const std::string& name);

/// What a proxy answered to CONNECT (RFC 9110, 9.3.6).
struct ConnectReply {
    enum class State { more, open, refused } state = State::more;
    std::size_t size = 0;  ///< of the head, when open
    std::string problem;   ///< when refused: the status line's code, or that it is no answer
};
/// Looks at what came so far; a head beyond 16 KiB or that is not HTTP/1 is refused. Pure.
ConnectReply parse_connect_reply(std::string_view bytes);

/// Opens connections outward: dials, speaks CONNECT to the operator's proxy, and TLS.
class UpstreamOpener {
public:
    /// Throws Error{invalid} when the operator's certificates cannot be read.
    UpstreamOpener(
        asio::any_io_executor executor, const GatekeeperConfig& config, Resolver& resolver
    );
    ~UpstreamOpener();

    asio::awaitable<Upstream> open(UpstreamTarget target);

private:
    class Opening;

    asio::any_io_executor executor_;
    const GatekeeperConfig& config_;
    Resolver& resolver_;
    std::unique_ptr<TlsContext> tls_;
};

}  // namespace volary::cage
