// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/names.hpp"

#include <algorithm>

namespace volary::cage {
namespace {

void remember(std::map<Address, std::string>& fakes, const NameEntry& entry) {
    for (const auto& text : {entry.fake_v4, entry.fake_v6}) {
        if (const auto address = parse_address(text)) fakes.emplace(*address, entry.name);
    }
}

}  // namespace

NameTable::NameTable(const std::vector<NetRule>& rules, const NetPlan& plan)
    : rules_(rules), planned_(plan.names.size()) {
    for (const auto& entry : plan.names) {
        names_.emplace(entry.name, entry);
        remember(fakes_, entry);
    }
    for (const auto& spec : plan.sockets) {
        if (spec.kind == SocketSpec::Kind::listen) bound(spec);
    }
}

const NameEntry* NameTable::find(const std::string& name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? nullptr : &found->second;
}

std::string NameTable::name_of(const Address& fake) const {
    const auto found = fakes_.find(fake);
    return found == fakes_.end() ? std::string() : found->second;
}

bool NameTable::matches_wildcard(const std::string& name) const {
    const auto matches = [&](const NetRule& rule) {
        return rule.kind == NetRule::Kind::wildcard && matches_name(rule, name);
    };
    return std::ranges::any_of(rules_, matches);
}

std::vector<NameTable::Missing> NameTable::missing(const std::string& name) const {
    std::vector<Missing> out;
    const auto* entry = find(name);
    if (entry == nullptr) return out;
    for (std::size_t i = 0; i < rules_.size(); ++i) {
        const auto& rule = rules_[i];
        if (rule.kind != NetRule::Kind::wildcard || !matches_name(rule, name)) continue;
        for (const auto& text : {entry->fake_v4, entry->fake_v6}) {
            const auto address = parse_address(text);
            if (!address || bound_.contains({*address, rule.port})) continue;
            const SocketSpec spec{SocketSpec::Kind::listen, text, rule.port};
            const auto same = [&](const Missing& item) { return item.spec == spec; };
            if (std::ranges::any_of(out, same)) continue;
            out.push_back({spec, {SocketTarget::Kind::rule, i, name}});
        }
    }
    return out;
}

bool NameTable::allocate(const std::string& name) {
    if (names_.contains(name)) return true;
    if (names_.size() >= planned_ + kMaxWildcardNames || names_.size() >= kMaxNames) return false;
    const auto& entry = names_.emplace(name, fake_addresses(name, names_.size())).first->second;
    remember(fakes_, entry);
    return true;
}

void NameTable::bound(const SocketSpec& spec) {
    if (const auto address = parse_address(spec.address)) bound_.emplace(*address, spec.port);
}

bool NameTable::listens(const Address& address, std::uint16_t port) const {
    Address any;
    any.v6 = address.v6;
    return bound_.contains({address, port}) || bound_.contains({any, port});
}

}  // namespace volary::cage
