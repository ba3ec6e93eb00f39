// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/proxy_headers.hpp"

#include <algorithm>
#include <array>

namespace volary::http {
namespace {

/// Of one connection, not of the message (RFC 9110, 7.6.1; RFC 9112), and what we frame ourselves.
constexpr std::string_view kPerHop[] = {
    "Connection", "Keep-Alive", "Proxy-Connection", "TE",   "Trailer",        "Transfer-Encoding",
    "Upgrade",    "Expect",     "Content-Length",   "Host", "HTTP2-Settings",
};

/// Who the operator is, and what tells where the capability of the address is.
constexpr std::string_view kPrivate[] = {
    "Cookie",      "Cookie2",  "Authorization",   "Origin",         "Referer",
    "Forwarded",   "Via",      "X-Real-IP",       "From",           "True-Client-IP",
    "Client-Cert", "CDN-Loop", "Idempotency-Key", "Service-Worker",
};
constexpr std::string_view kPrivatePrefixes[] = {
    "X-Forwarded-", "X-Remote-", "X-Auth-", "X-Volary-", "CF-", "Proxy-", "OIDC", "Sec-",
};

constexpr std::string_view kAnswerFields[] = {
    "Accept-Ranges",
    "Age",
    "Allow",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Retry-After",
    "Vary",
};
constexpr std::string_view kHandshakeFields[] = {
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
};

template <class List>
bool is_one_of(std::string_view name, const List& list) {
    return std::any_of(std::begin(list), std::end(list), [&](std::string_view one) {
        return equal_ignoring_case(name, one);
    });
}

bool has_private_prefix(std::string_view name) {
    return std::any_of(
        std::begin(kPrivatePrefixes), std::end(kPrivatePrefixes),
        [&](std::string_view prefix) {
            return name.size() >= prefix.size() &&
                   equal_ignoring_case(name.substr(0, prefix.size()), prefix);
        }
    );
}

void put(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
}

void put_framing(std::string& out, const BodyFraming& framing) {
    if (framing.length)
        put(out, "Content-Length", std::to_string(*framing.length));
    else if (framing.chunked)
        put(out, "Transfer-Encoding", "chunked");
}

/// True when some Connection field names it as of this hop only.
bool is_named_by_connection(const Headers& headers, std::string_view name) {
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const auto field = headers[i];
        if (equal_ignoring_case(field.name, "Connection") && has_token(field.value, name))
            return true;
    }
    return false;
}

bool passes_to_upstream(const Headers& headers, std::string_view name, bool websocket) {
    constexpr std::string_view handshake = "Sec-WebSocket-";
    if (websocket && name.size() > handshake.size() &&
        equal_ignoring_case(name.substr(0, handshake.size()), handshake))
        return true;
    if (is_one_of(name, kPerHop) || is_one_of(name, kPrivate) || has_private_prefix(name))
        return false;
    return !is_named_by_connection(headers, name);
}

std::string address_of(const Peer& peer) {
    if (peer.kind != Peer::Kind::tcp) return {};
    return peer.address.substr(0, peer.address.rfind(':'));
}

}  // namespace

std::string upstream_head(
    const Request& request, const Upstream& upstream, const BodyFraming& framing, bool websocket
) {
    std::string out = request.method + " " + upstream.target + " HTTP/1.1\r\n";
    put(out, "Host", upstream.host);
    put(out, "Connection", websocket ? "Upgrade" : "close");
    if (websocket) put(out, "Upgrade", "websocket");
    put_framing(out, framing);
    const auto& headers = request.headers;
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const auto field = headers[i];
        if (passes_to_upstream(headers, field.name, websocket)) put(out, field.name, field.value);
    }
    // Seen from inside, its own page is what asks.
    if (headers.find("Origin")) put(out, "Origin", "http://" + upstream.host);
    const auto from = address_of(request.peer);
    if (!from.empty()) put(out, "X-Forwarded-For", from);
    if (const auto host = headers.find("Host")) put(out, "X-Forwarded-Host", *host);
    const auto& local = request.peer.local;
    const bool is_own = local.empty() ||
                        headers.find("Host").value_or("").ends_with(local.substr(local.rfind(':')));
    // Other names than the listener's own are those of a tunnel or proxy, which speaks TLS.
    put(out, "X-Forwarded-Proto", is_own ? "http" : "https");
    return out.append("\r\n");
}

std::string client_head(
    const Response& answer, const Upstream& upstream, const BodyFraming& framing,
    std::string_view date_line
) {
    std::string out = "HTTP/1.1 " + std::to_string(answer.status) + " ";
    out.append(reason_phrase(answer.status)).append("\r\n").append(date_line);
    out.append("Connection: close\r\n");
    put_framing(out, framing);
    for (std::size_t i = 0; i < answer.headers.size(); ++i) {
        const auto field = answer.headers[i];
        if (upstream.headers.find(field.name)) continue;
        if (equal_ignoring_case(field.name, "Location"))
            put(out, "Location", outside_location(field.value, upstream));
        else if (is_one_of(field.name, kAnswerFields))
            put(out, field.name, field.value);
    }
    for (std::size_t i = 0; i < upstream.headers.size(); ++i)
        put(out, upstream.headers[i].name, upstream.headers[i].value);
    return out.append("\r\n");
}

std::string websocket_head(const Response& answer) {
    std::string out = "HTTP/1.1 101 Switching Protocols\r\n";
    put(out, "Upgrade", "websocket");
    put(out, "Connection", "Upgrade");
    for (std::size_t i = 0; i < answer.headers.size(); ++i) {
        const auto field = answer.headers[i];
        if (is_one_of(field.name, kHandshakeFields)) put(out, field.name, field.value);
    }
    return out.append("\r\n");
}

std::string bytes_head(const Upstream& upstream) {
    std::string out = "HTTP/1.1 101 Switching Protocols\r\n";
    put(out, "Upgrade", upstream.protocol);
    put(out, "Connection", "Upgrade");
    return out.append("\r\n");
}

std::string outside_location(std::string_view location, const Upstream& upstream) {
    const auto port = upstream.host.substr(upstream.host.rfind(':'));
    for (const std::string_view scheme : {"http://", "https://"}) {
        for (const std::string_view name : {"localhost", "127.0.0.1", "[::1]"}) {
            auto own = std::string(scheme).append(name).append(port);
            if (!location.starts_with(own)) continue;
            const auto rest = location.substr(own.size());
            if (rest.empty()) return upstream.prefix + "/";
            if (rest.front() == '/') return upstream.prefix + std::string(rest);
            if (rest.front() == '?') return upstream.prefix + "/" + std::string(rest);
        }
    }
    if (location.starts_with('/') && !location.starts_with("//"))
        return upstream.prefix + std::string(location);
    return std::string(location);
}

}  // namespace volary::http
