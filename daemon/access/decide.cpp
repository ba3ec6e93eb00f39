// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/decide.hpp"

#include "daemon/http/headers.hpp"

#include <algorithm>

namespace volary::access {
namespace {

constexpr std::string_view kLoopbackNames[] = {"localhost", "127.0.0.1", "[::1]"};

std::string_view port_of(std::string_view local) {
    const auto colon = local.rfind(':');
    return colon == std::string_view::npos ? std::string_view() : local.substr(colon + 1);
}

/// True when `host` is `name` with exactly this port; a browser leaves 80 out.
bool names(std::string_view host, std::string_view name, std::string_view port) {
    if (host.size() < name.size() || !http::equal_ignoring_case(host.substr(0, name.size()), name))
        return false;
    const auto rest = host.substr(name.size());
    if (rest.empty()) return port == "80";
    return rest.front() == ':' && rest.substr(1) == port && !port.empty();
}

bool is_own_host(std::string_view host, std::string_view local) {
    const auto port = port_of(local);
    if (port.empty()) return false;
    for (const auto name : kLoopbackNames) {
        if (names(host, name, port)) return true;
    }
    return names(host, local.substr(0, local.size() - port.size() - 1), port);
}

bool is_allowed_host(std::string_view host, const RequestFacts& facts, const Allowlist& allowed) {
    if (is_own_host(host, facts.local)) return true;
    return std::any_of(allowed.hosts.begin(), allowed.hosts.end(), [&](const std::string& name) {
        return http::equal_ignoring_case(host, name);
    });
}

bool is_allowed_origin(
    std::string_view origin, const RequestFacts& facts, const Allowlist& allowed
) {
    constexpr std::string_view scheme = "http://";
    if (origin.starts_with(scheme) && is_own_host(origin.substr(scheme.size()), facts.local))
        return true;
    return std::find(allowed.origins.begin(), allowed.origins.end(), origin) !=
           allowed.origins.end();
}

/// What a page of a cage sends has the origin "null" and is another site's to the browser, like any
/// sandboxed page of the world; what sets it apart is the token in its path. A page that has an
/// origin, and not ours, is refused all the same.
std::optional<Refuse> check_capability(const RequestFacts& facts, const Allowlist& allowed) {
    if (facts.origin.count == 1 && facts.origin.value != "null" &&
        !is_allowed_origin(facts.origin.value, facts, allowed))
        return Refuse{403, Errc::denied, "this Origin is not allowed"};
    return std::nullopt;
}

std::optional<Refuse> check_browser_rules(const RequestFacts& facts, const Allowlist& allowed) {
    const bool changes = !is_safe_method(facts.method);
    const bool over_tcp = facts.source == RequestFacts::Source::tcp;
    if (over_tcp && facts.host.count == 0)
        return Refuse{400, Errc::invalid, "a Host header is required"};
    if (over_tcp && !is_allowed_host(facts.host.value, facts, allowed))
        return Refuse{403, Errc::denied, "this Host is not served here"};
    if (facts.capability) return check_capability(facts, allowed);
    if (facts.fetch_site.count == 1 && facts.fetch_site.value != "same-origin" &&
        facts.fetch_site.value != "none")
        return Refuse{403, Errc::denied, "requests from other sites are refused"};
    if (facts.origin.count == 1 && !is_allowed_origin(facts.origin.value, facts, allowed))
        return Refuse{403, Errc::denied, "this Origin is not allowed"};
    if (over_tcp && (changes || facts.websocket) && facts.origin.count == 0)
        return Refuse{403, Errc::denied, "an Origin header is required"};
    if (changes && (facts.client.count == 0 || facts.client.value.empty()))
        return Refuse{403, Errc::denied, "header X-Volary-Client is required"};
    return std::nullopt;
}

}  // namespace

bool is_safe_method(std::string_view method) noexcept {
    return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

std::variant<Allow, Refuse> decide(const RequestFacts& facts, const Allowlist& allowed) {
    if (facts.source == RequestFacts::Source::cage)
        return Refuse{403, Errc::denied, "cages have no access to this API"};
    for (const auto* header : {&facts.host, &facts.origin, &facts.fetch_site, &facts.client}) {
        if (header->count > 1)
            return Refuse{400, Errc::invalid, "a header that may stand once came twice"};
    }
    if (const auto refusal = check_browser_rules(facts, allowed)) return *refusal;
    if (facts.identity) return Allow{std::string(*facts.identity)};
    if (facts.open || facts.capability) return Allow{};
    if (facts.source == RequestFacts::Source::operator_socket)
        return Refuse{
            403, Errc::denied, "your user is neither the daemon's nor in the operators' group"
        };
    return Refuse{
        401, Errc::denied, "not signed in: open the address that `volary auth launch-url` prints"
    };
}

}  // namespace volary::access
