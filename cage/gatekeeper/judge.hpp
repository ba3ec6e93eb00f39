// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"
#include "base/secret.hpp"
#include "cage/gatekeeper/client_hello.hpp"
#include "cage/gatekeeper/http_head.hpp"
#include "cage/gatekeeper/request_rule.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// What the first bytes of a connection must say.
struct Expectation {
    enum class Protocol {
        unchecked,  ///< address and block rules: the address is what was allowed
        any,        ///< TLS and HTTP are checked, other protocols pass
        web,        ///< TLS or HTTP, both checked
        tls,        ///< TLS only
        http        ///< plain HTTP only: each request is looked at
    };
    Protocol protocol = Protocol::web;
    /// Accepted server names and Host names, lower case.
    std::vector<std::string> names;
    /// A hello without a server name passes (a host's own loopback service).
    bool server_name_optional = false;
    std::uint16_t port = 0;
    /// "shop.example:443", for messages.
    std::string where;
    /// Empty: every method and path.
    std::vector<RequestRule> requests;
    /// Name of the credential that is added to each request; empty: none.
    std::string credential;
    HeadChange change;
    /// With a credential: what a Host may name beside `port`.
    std::uint16_t listen_port = 0;
};

/// What connections to `name` by `rule` must say: names on 443, and rules with `sni`, TLS; names
/// on 80 TLS or HTTP; other ports and host.volary anything, with TLS and HTTP checked.
/// What has methods, paths or a credential must be plain HTTP.
Expectation expect(const NetRule& rule, const std::string& name);

/// Judges what the client of one connection sends: the ClientHello's server name, or the Host of
/// every request head on the connection (bodies are followed to their end, so that a second
/// request cannot hide in one). Pure: it sees bytes and says how many of them may go on.
class ClientJudge {
public:
    explicit ClientJudge(Expectation expectation);

    struct Step {
        enum class Kind {
            more,   ///< nothing more may be passed on yet
            pass,   ///< the first `bytes` may be passed on, or `instead` in their place; look
                    ///< again at what follows
            refuse  ///< `layer`, `what` and `rule` as in a Denial
        };
        Kind kind = Kind::more;
        std::size_t bytes = 0;
        /// Holds a credential, where there is one.
        Secret instead;
        std::string layer, what, rule;
    };

    /// `pending`: everything that was read and not passed on, in order. Between two calls it may
    /// only grow at its end, and lose at its front what a Step passed.
    Step look(std::string_view pending);

    /// True when everything that follows passes unseen.
    bool raw() const noexcept { return state_ == State::raw; }

    /// True after a WebSocket request: nothing passes until the server answered.
    bool awaiting_upgrade() const noexcept { return state_ == State::upgrade; }
    /// `switched`: the answer was "101 Switching Protocols".
    void upgrade_answered(bool switched);

private:
    enum class State { first, tls, head, body, upgrade, raw };
    Step look_first(std::string_view pending);
    Step look_tls(std::string_view pending);
    Step look_head(std::string_view pending);
    Step look_body(std::string_view pending);
    Step refuse_host(const HttpHead& head) const;
    Step refuse_request(const HttpHead& head, std::string_view path) const;
    std::optional<Step> look_request(const HttpHead& head) const;
    bool port_fits(const HttpHead& head) const;
    bool accepts(std::string_view name) const;

    Expectation expectation_;
    State state_ = State::first;
    ClientHelloParser hello_;
    std::size_t fed_ = 0;
    BodyScanner body_;
    bool first_request_ = true;
};

}  // namespace volary::cage
