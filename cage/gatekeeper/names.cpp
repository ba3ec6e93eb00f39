// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/names.hpp"

#include "base/error.hpp"

#include <algorithm>

namespace volary::cage {
namespace {

void remember(std::map<Address, std::string>& fakes, const NameEntry& entry) {
    for (const auto& text : {entry.fake_v4, entry.fake_v6}) {
        if (const auto address = parse_address(text)) fakes.emplace(*address, entry.name);
    }
}

bool is_named(const NetRule& rule) {
    return rule.kind != NetRule::Kind::address && rule.kind != NetRule::Kind::cidr;
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
        if (!is_named(rule) || !matches_name(rule, name)) continue;
        const auto port = listen_port(rule);
        for (const auto& text : {entry->fake_v4, entry->fake_v6}) {
            const auto address = parse_address(text);
            if (!address || bound_.contains({*address, port})) continue;
            const SocketSpec spec{SocketSpec::Kind::listen, text, port};
            const auto same = [&](const Missing& item) { return item.spec == spec; };
            if (std::ranges::any_of(out, same)) continue;
            out.push_back({spec, {SocketTarget::Kind::rule, i, name}});
        }
    }
    return out;
}

std::size_t NameTable::add(const NetRule& rule) {
    for (std::size_t i = 0; i < rules_.size(); ++i) {
        if (same_rule(rules_[i], rule)) return i;
    }
    const bool exact = is_named(rule) && rule.kind != NetRule::Kind::wildcard;
    if (exact && !names_.contains(rule.host)) {
        ++planned_;
        if (!allocate(rule.host)) {
            --planned_;
            throw Error(Errc::invalid, "more than " + std::to_string(kMaxNames) + " names");
        }
    }
    rules_.push_back(rule);
    return rules_.size() - 1;
}

bool NameTable::allocate(const std::string& name) {
    if (names_.contains(name)) return true;
    if (names_.size() >= planned_ + kMaxWildcardNames || names_.size() >= kMaxNames) return false;
    const auto& entry = names_.emplace(name, fake_addresses(name, names_.size())).first->second;
    remember(fakes_, entry);
    return true;
}

bool NameTable::restore(const std::string& name, const std::string& fake) {
    const auto is = [&](const NameEntry& entry) {
        return entry.fake_v4 == fake || entry.fake_v6 == fake;
    };
    if (const auto* known = find(name)) return is(*known);
    // A number whose name was never bound stays unused.
    for (auto number = names_.size(); number < kMaxNames; ++number) {
        auto entry = fake_addresses(name, number);
        if (!is(entry)) continue;
        while (names_.size() < number) {
            auto unused = fake_addresses("?" + std::to_string(names_.size()), names_.size());
            names_.emplace(unused.name, unused);
        }
        remember(fakes_, entry);
        names_.emplace(name, std::move(entry));
        return true;
    }
    return false;
}

std::vector<NetRule> NameTable::rules_for(std::size_t index, const std::string& name) const {
    const auto& base = rules_.at(index);
    std::vector<NetRule> out;
    for (const auto& rule : rules_) {
        const bool here = is_named(base) ? is_named(rule) && matches_name(rule, name)
                                         : rule.kind == base.kind && rule.host == base.host;
        const bool same = listen_port(rule) == listen_port(base) && rule.sni == base.sni &&
                          rule.credential == base.credential && rule.port == base.port;
        if (here && same) out.push_back(rule);
    }
    return out;
}

const NetRule* NameTable::block_of(const Address& address, std::uint16_t port) const {
    const NetRule* best = nullptr;
    unsigned prefix = 0;
    for (const auto& rule : rules_) {
        if (rule.kind != NetRule::Kind::cidr || rule.port != port) continue;
        const auto block = parse_block(rule.host);
        if (!block || !block->contains(address)) continue;
        // Of two spellings of one block the one that allows more: a grant adds, it never takes.
        const bool wider = best != nullptr && block->prefix == prefix && rule.allow_private;
        if (best != nullptr && block->prefix <= prefix && !wider) continue;
        best = &rule;
        prefix = block->prefix;
    }
    return best;
}

bool NameTable::has(const SocketSpec& spec) const {
    const auto address = parse_address(spec.address);
    return address && bound_.contains({*address, spec.port});
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
