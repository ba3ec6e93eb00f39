// SPDX-License-Identifier: Apache-2.0
// How a session gets its peer: whom it may reach, and who is dialled.
#include "cage/gatekeeper/relay.hpp"

#include <algorithm>
#include <utility>

namespace volary::cage {
namespace {

std::string private_form(const NetRule& rule) {
    return "{ to: \"" + rule.text + "\", private: true }";
}

}  // namespace

void Session::deny_private(const Address& address) {
    const auto& rule = target_.rule;
    Denial denial;
    denial.layer = "net";
    const auto where =
        target_.address ? endpoint_text(address, rule.port)
                        : target_.name + ":" + std::to_string(rule.port) + " at " + address.text();
    denial.what = "private address, tcp " + where;
    denial.rule = private_form(rule);
    context_.deny(std::move(denial));
    abort("private");
}

void Session::deny_upstream(const Upstream& upstream) {
    if (upstream.verdict == "connect") return abort(upstream.verdict);
    // The operator's matter, not the cage's: a wrong certificate or a proxy that refuses.
    Denial denial;
    denial.layer = upstream.verdict == "tls" ? "credential" : "net";
    denial.what = upstream.problem + ", " + target_.name + ":" + std::to_string(target_.rule.port);
    context_.deny(std::move(denial));
    abort(upstream.verdict);
}

/// Leaves the addresses that may be dialled; false when the connection was refused.
bool Session::may_reach(Resolved& resolved, bool by_proxy) {
    if (resolved.addresses.empty()) {
        // Behind a proxy a host often resolves nothing. The operator wrote an exact name; whoever
        // runs a wildcard's domain could name an inner address of the proxy's network.
        if (by_proxy && target_.rule.kind == NetRule::Kind::name) return true;
        abort("resolve");
        return false;
    }
    const bool any_allowed = target_.rule.allow_private || resolved.trusted;
    const auto first = resolved.addresses.front();
    const auto refused = [&](const Address& address) {
        if (is_unspecified(address) || is_v4_mapped(address)) return true;
        return !any_allowed && is_private(address);
    };
    const auto before = resolved.addresses.size();
    std::erase_if(resolved.addresses, refused);
    // A proxy chooses among all answers by itself, so none of them may be refused.
    const bool fine = by_proxy ? resolved.addresses.size() == before : !resolved.addresses.empty();
    if (!fine) deny_private(first);
    return fine;
}

asio::awaitable<std::optional<UpstreamTarget>> Session::find_upstream() {
    const auto& rule = target_.rule;
    const auto& proxy = context_.config.proxy;
    UpstreamTarget upstream;
    upstream.name = target_.name;
    upstream.tls = !rule.credential.empty();
    upstream.speaks = !pending_.empty();
    Resolved resolved;
    if (target_.address) {
        resolved.addresses = {*target_.address};
    } else if (rule.kind == NetRule::Kind::host) {
        resolved.addresses = {*parse_address("127.0.0.1"), *parse_address("::1")};
        resolved.trusted = true;
    } else {
        resolved = co_await context_.resolver.resolve(target_.name, context_.asker);
    }
    upstream.by_proxy = proxy && !resolved.trusted && goes_by_proxy(*proxy, target_.name);
    if (!may_reach(resolved, upstream.by_proxy)) co_return std::nullopt;
    upstream.port = resolved.port.value_or(rule.port);
    upstream.addresses = std::move(resolved.addresses);
    co_return upstream;
}

asio::awaitable<bool> Session::connect() {
    // Resolving and dialling have deadlines of their own.
    deadline_.cancel();
    auto target = co_await find_upstream();
    if (!target) co_return false;
    auto opened = co_await context_.opener.open(std::move(*target));
    if (!opened.stream) {
        deny_upstream(opened);
        co_return false;
    }
    if (context_.scope.closing() || aborted_) {
        abort("connect");
        co_return false;
    }
    upstream_ = std::move(opened);
    phase_ = Phase::relay;
    co_return true;
}

/// Once, when the first bytes are out: they come first.
void Session::begin_relay() {
    if (std::exchange(relaying_, true)) return;
    arm(Phase::relay, context_.config.idle_timeout);
    context_.scope.spawn("relay", run_down(shared_from_this()));
}

}  // namespace volary::cage
