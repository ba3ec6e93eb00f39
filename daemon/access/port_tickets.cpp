// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/port_tickets.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "daemon/access/secrets.hpp"

#include <algorithm>
#include <utility>

namespace volary::access {
namespace {

/// A page that is looked at loads something now and then; a link that was forgotten ends.
constexpr UnixMillis kIdleMs = 15 * 60 * 1000;
/// A day's work. After that the operator opens the port again.
constexpr UnixMillis kLifeMs = 12LL * 60 * 60 * 1000;
constexpr std::size_t kMaxTickets = 1024;
/// A browser opens six to a site; sockets and streams come on top. The server has 1024 in all.
constexpr long kMaxOpen = 128;

}  // namespace

PortTickets::Issued PortTickets::issue(PortTicket ticket) {
    const auto now = clock_.now_ms();
    drop_old(now);
    Issued issued{random_token(kPortTokenBytes), now + kIdleMs};
    Entry entry;
    entry.ticket = std::move(ticket);
    entry.until = issued.expires_at;
    entry.until_max = now + kLifeMs;
    entries_.emplace(hash_secret(issued.token), std::move(entry));
    return issued;
}

std::optional<PortTickets::Visit> PortTickets::use(std::string_view token) {
    if (!is_token(token, kPortTokenBytes)) return std::nullopt;
    const auto found = entries_.find(hash_secret(token));
    if (found == entries_.end()) return std::nullopt;
    auto& entry = found->second;
    const auto now = clock_.now_ms();
    if (now >= entry.until || now >= entry.until_max) {
        entries_.erase(found);
        return std::nullopt;
    }
    entry.until = now + kIdleMs;
    if (entry.open.use_count() > kMaxOpen)
        throw Error(Errc::busy, "too many connections to port " + entry.ticket.name + " are open");
    return Visit{entry.ticket, entry.open};
}

void PortTickets::revoke(const CageId& cage) {
    std::erase_if(entries_, [&](const auto& item) { return item.second.ticket.cage == cage; });
}

void PortTickets::drop_old(UnixMillis now) {
    std::erase_if(entries_, [&](const auto& item) {
        return now >= item.second.until || now >= item.second.until_max;
    });
    if (entries_.size() < kMaxTickets) return;
    entries_.erase(std::ranges::min_element(entries_, {}, [](const auto& item) {
        return item.second.until;
    }));
}

http::Headers port_headers(std::string_view host, std::string_view prefix, bool origin_null) {
    constexpr std::string_view letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
    // Over the operator socket a Host is not compared with anything, and must add no directive.
    if (host.find_first_not_of(letters) != std::string_view::npos) host = "localhost";
    std::string own;
    // The scheme that a tunnel in front speaks is not known here, and a name is not another's.
    for (const std::string_view scheme : {"http://", "https://", "ws://", "wss://"})
        own.append(" ").append(scheme).append(host).append(prefix).append("/");
    const auto csp =
        "sandbox allow-scripts allow-forms allow-modals allow-downloads; "
        "default-src" +
        own + " data: blob: 'unsafe-inline' 'unsafe-eval'; form-action" + own + "; base-uri" + own +
        "; frame-ancestors 'none'; webrtc 'block'";
    http::Headers out{
        {"Content-Security-Policy", csp},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        // Not same-origin: the page has no origin, and its own scripts would be refused to it.
        {"Cross-Origin-Resource-Policy", "cross-origin"},
        {"X-Frame-Options", "DENY"},
        {"X-DNS-Prefetch-Control", "off"},
        {"X-Robots-Tag", "noindex"},
        {"Permissions-Policy",
         "camera=(), microphone=(), geolocation=(), usb=(), serial=(), hid=(), bluetooth=(), "
         "payment=(), clipboard-read=(), display-capture=(), publickey-credentials-get=()"},
    };
    if (origin_null) out.add("Access-Control-Allow-Origin", "null");
    return out;
}

}  // namespace volary::access
