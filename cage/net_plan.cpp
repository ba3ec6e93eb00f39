// SPDX-License-Identifier: Apache-2.0
#include "cage/net_plan.hpp"

#include "base/error.hpp"
#include "cage/gatekeeper/address.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace volary::cage {
namespace {

// "volary" in ASCII makes a prefix that is easy to know in a packet dump; it is never routed.
constexpr const char* kFakeV6Prefix = "fd76:6f6c:6172:7900::";
constexpr std::uint16_t kHttpPort = 80;
constexpr std::uint16_t kHttpsPort = 443;

/// Collects sockets, each (address, port) once.
class Planner {
public:
    explicit Planner(NetPlan& plan) : plan_(plan) {}

    void add(SocketSpec spec, SocketTarget target) {
        if (!bound_.insert({spec.address, spec.port}).second) return;
        plan_.sockets.push_back(std::move(spec));
        plan_.targets.push_back(std::move(target));
    }

    void add_name(const std::string& name, std::uint16_t port, const SocketTarget& target) {
        const auto entry = ensure_name(name);
        add({SocketSpec::Kind::listen, entry.fake_v4, port}, target);
        add({SocketSpec::Kind::listen, entry.fake_v6, port}, target);
    }

private:
    NameEntry ensure_name(const std::string& name) {
        const auto found = std::ranges::find(plan_.names, name, &NameEntry::name);
        if (found != plan_.names.end()) return *found;
        if (plan_.names.size() >= kMaxNames)
            throw Error(Errc::invalid, "more than " + std::to_string(kMaxNames) + " names");
        return plan_.names.emplace_back(fake_addresses(name, plan_.names.size()));
    }

    NetPlan& plan_;
    std::set<std::pair<std::string, std::uint16_t>> bound_;
};

[[noreturn]] void refuse(const NetRule& rule, const std::string& why) {
    const auto where = rule.origin.empty() ? std::string() : rule.origin + ": ";
    throw Error(Errc::invalid, where + "net rule \"" + rule.text + "\": " + why);
}

/// Methods, paths and credentials are only for requests that the gatekeeper reads.
void check_requests(const NetRule& rule) {
    const bool named = rule.kind == NetRule::Kind::name || rule.kind == NetRule::Kind::wildcard;
    const bool filtered = !rule.methods.empty() || !rule.paths.empty();
    if (!rule.credential.empty()) {
        if (!named) refuse(rule, "a credential needs a name, whose certificate can be verified");
        if (!rule.sni.empty()) refuse(rule, "a credential goes to the name itself: leave out sni");
        if (rule.port == kHttpPort) refuse(rule, "a credential travels by TLS: port 443, not 80");
        return;
    }
    if (!filtered) return;
    if (!named && rule.kind != NetRule::Kind::host)
        refuse(rule, "methods and paths need a name, not an address");
    if (rule.port == kHttpsPort || !rule.sni.empty())
        refuse(rule, "methods and paths cannot be seen in TLS: use plain HTTP or a credential");
}

/// What two rules of one listener must agree on, or a request would be judged by the wrong one.
void check_agreement(const std::vector<NetRule>& rules) {
    for (std::size_t i = 0; i < rules.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            const auto& a = rules[i];
            const auto& b = rules[j];
            if (a.kind != b.kind || a.host != b.host || listen_port(a) != listen_port(b)) continue;
            if (a.credential != b.credential || (!a.credential.empty() && a.port != b.port))
                refuse(a, "\"" + b.text + "\" needs the same port in the cage for something else");
        }
    }
}

void add_address(Planner& planner, const NetRule& rule, const SocketTarget& target) {
    const auto address = parse_address(rule.host);
    if (!address) refuse(rule, "\"" + rule.host + "\" is not an address");
    if (is_v4_mapped(*address)) refuse(rule, "write the IPv4 address itself");
    if (is_unspecified(*address)) refuse(rule, "the unspecified address cannot be reached");
    planner.add({SocketSpec::Kind::listen, address->text(), rule.port}, target);
}

void add_block(Planner& planner, const NetRule& rule, const SocketTarget& target) {
    const auto block = parse_block(rule.host);
    if (!block) refuse(rule, "\"" + rule.host + "\" is not an address block");
    const char* any = block->base.v6 ? "::" : "0.0.0.0";
    planner.add({SocketSpec::Kind::listen, any, rule.port}, target);
}

}  // namespace

NameEntry fake_addresses(std::string name, std::size_t index) {
    const auto number = index + 1;  // 198.18.0.0 itself stays unused
    NameEntry entry;
    entry.name = std::move(name);
    entry.fake_v4 = "198.18." + std::to_string(number / 256U) + "." + std::to_string(number % 256U);
    Address v6 = parse_address(kFakeV6Prefix).value();
    v6.bytes[14] = static_cast<std::uint8_t>(number / 256U);
    v6.bytes[15] = static_cast<std::uint8_t>(number % 256U);
    entry.fake_v6 = v6.text();
    return entry;
}

std::uint16_t listen_port(const NetRule& rule) noexcept {
    return !rule.credential.empty() && rule.port == kHttpsPort ? kHttpPort : rule.port;
}

bool same_rule(const NetRule& a, const NetRule& b) {
    const auto parts = [](const NetRule& rule) {
        return std::tie(
            rule.kind, rule.host, rule.port, rule.allow_private, rule.sni, rule.credential,
            rule.methods, rule.paths
        );
    };
    return parts(a) == parts(b);
}

NetPlan plan_network(
    const std::vector<NetRule>& rules, const std::vector<std::string>& internal_names
) {
    check_agreement(rules);
    NetPlan plan;
    Planner planner(plan);
    const SocketTarget dns{SocketTarget::Kind::dns, 0, ""};
    planner.add({SocketSpec::Kind::dns_udp, kDnsAddress, kDnsPort}, dns);
    // Not through add(): UDP and TCP share address and port.
    plan.sockets.push_back({SocketSpec::Kind::dns_tcp, kDnsAddress, kDnsPort});
    plan.targets.push_back(dns);
    for (const auto& name : internal_names)
        planner.add_name(name, kInternalPort, {SocketTarget::Kind::internal, 0, name});
    for (std::size_t index = 0; index < rules.size(); ++index) {
        const auto& rule = rules[index];
        if (rule.port == 0) refuse(rule, "port 0");
        check_requests(rule);
        const SocketTarget target{SocketTarget::Kind::rule, index, rule.host};
        switch (rule.kind) {
            case NetRule::Kind::name:
            case NetRule::Kind::host:
                planner.add_name(rule.host, listen_port(rule), target);
                break;
            case NetRule::Kind::address:
                add_address(planner, rule, target);
                break;
            case NetRule::Kind::cidr:
                add_block(planner, rule, target);
                break;
            case NetRule::Kind::wildcard:
                break;
        }
    }
    return plan;
}

}  // namespace volary::cage
