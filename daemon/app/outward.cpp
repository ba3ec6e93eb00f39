// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/outward.hpp"

#include "base/units.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace volary::app {
namespace {

/// Headers that frame the request, or that the gatekeeper itself writes.
bool is_framing(std::string_view header) {
    constexpr std::array names{
        "host", "connection", "content-length", "transfer-encoding", "upgrade",
        "te",   "trailer",    "expect",         "keep-alive",        "proxy-connection"
    };
    return std::ranges::any_of(names, [&](std::string_view name) {
        return std::ranges::equal(name, header, [](char a, char b) {
            return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
        });
    });
}

bool is_token(std::string_view text) {
    return !text.empty() && text.find_first_not_of(
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$%&'*+-.^_`|~"  // RFC 9110, 5.6.2
                            ) == std::string_view::npos;
}

}  // namespace

bool may_carry_credential(std::string_view header) {
    return is_token(header) && !is_framing(header);
}

std::optional<UpstreamProxy> parse_proxy(std::string_view url) {
    UpstreamProxy out;
    out.tls = url.starts_with("https://");
    if (!out.tls && !url.starts_with("http://")) return std::nullopt;
    url.remove_prefix(out.tls ? 8 : 7);
    if (url.ends_with('/')) url.remove_suffix(1);
    const auto colon = url.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    auto host = url.substr(0, colon);
    const auto number = parse_size(url.substr(colon + 1));
    if (!number || number->value > 65535 || url.back() < '0' || url.back() > '9')
        return std::nullopt;
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (host.empty() || host.find_first_of("@/?#[] ") != std::string_view::npos)
        return std::nullopt;
    out.host = host;
    out.port = static_cast<std::uint16_t>(number->value);
    return out;
}

}  // namespace volary::app
