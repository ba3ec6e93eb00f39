// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/ids.hpp"
#include "daemon/http/headers.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace volary::access {

/// 256 bits: whoever knows the token is let in, so nobody may guess it.
inline constexpr std::size_t kPortTokenBytes = 32;

/// What one token opens: one published port of one cage, for the operator who asked.
struct PortTicket {
    std::string identity;  ///< as the guard named the operator, e.g. "device dev_..."
    CageId cage;
    std::string name;  ///< of the port, in its policy
    std::uint16_t port = 0;
};

/// The tokens in the addresses of published ports (docs/decisions/0013-published-ports.md). In
/// memory only: cages end with the daemon, and so do they. One thread.
class PortTickets {
public:
    explicit PortTickets(const Clock& clock) : clock_(clock) {}

    struct Issued {
        std::string token;
        UnixMillis expires_at = 0;  ///< unless it is used before
    };
    /// Makes a token. The oldest goes when there are too many.
    Issued issue(PortTicket ticket);

    struct Visit {
        PortTicket ticket;
        std::shared_ptr<void> hold;  ///< counts as open as long as it lives
    };
    /// What the token opens, renewed by this use; nothing when it is unknown or over. Throws
    /// Error{busy} when too many of its connections are open.
    std::optional<Visit> use(std::string_view token);

    /// Ends every token of a cage.
    void revoke(const CageId& cage);

private:
    struct Entry {
        PortTicket ticket;
        UnixMillis until = 0;      ///< without a use
        UnixMillis until_max = 0;  ///< whatever happens
        std::shared_ptr<int> open = std::make_shared<int>(0);
    };
    void drop_old(UnixMillis now);

    const Clock& clock_;
    std::map<std::string, Entry, std::less<>> entries_;  ///< by the token's hash
};

/// What every answer of a cage's port carries, in place of the app's own: a sandbox without an
/// origin, and nothing loaded from anywhere but below `prefix` ("/ports/t/TOKEN") of `host` (the
/// request's Host). `origin_null`: the request came from such a page, which may then read it.
http::Headers port_headers(std::string_view host, std::string_view prefix, bool origin_null);

}  // namespace volary::access
