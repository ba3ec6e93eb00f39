// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/gatekeeper/address.hpp"
#include "cage/net_plan.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace volary::cage {

/// Names that one cage may make up below its wildcard rules. Each costs two listeners per port.
constexpr std::size_t kMaxWildcardNames = 256;

/// The names, fake addresses and listeners of one cage. Pure.
class NameTable {
public:
    NameTable(const std::vector<NetRule>& rules, const NetPlan& plan);

    /// The fake address of a name, once it has one.
    const NameEntry* find(const std::string& name) const;

    /// The name behind a fake address; "" when it is none.
    std::string name_of(const Address& fake) const;

    const std::vector<NetRule>& rules() const noexcept { return rules_; }

    /// Adds a rule that plan_network() takes; a name gets its fake address. Gives the rule's index,
    /// that of the old one when it is there already. Throws Error{invalid} when the cage has
    /// kMaxNames names.
    std::size_t add(const NetRule& rule);

    /// What must still be bound before `name` can be answered: pairs of listener and target, empty
    /// when no rule for names matches or all is there.
    struct Missing {
        SocketSpec spec;
        SocketTarget target;
    };
    std::vector<Missing> missing(const std::string& name) const;

    /// Whether `name` may be given an address by a wildcard rule.
    bool matches_wildcard(const std::string& name) const;

    /// Gives `name` the next fake address unless it has one; false when the cage has its share.
    bool allocate(const std::string& name);

    /// Gives `name` the very fake address that it had for an earlier daemon; names are restored in
    /// the order in which they got theirs. False for what is no such address, or another's.
    bool restore(const std::string& name, const std::string& fake);

    /// The rules that speak about connections to `name` on the listener of rule `index`: an
    /// allowlist allows what any of them allows.
    std::vector<NetRule> rules_for(std::size_t index, const std::string& name) const;

    /// The narrowest block rule with that port that holds `address`, or null.
    const NetRule* block_of(const Address& address, std::uint16_t port) const;

    /// Whether that very listener is there.
    bool has(const SocketSpec& spec) const;

    /// Notes a listener that is there.
    void bound(const SocketSpec& spec);

    /// True when something listens at that address and port (a block's listener counts).
    bool listens(const Address& address, std::uint16_t port) const;

private:
    std::vector<NetRule> rules_;
    std::map<std::string, NameEntry> names_;
    std::map<Address, std::string> fakes_;
    std::set<std::pair<Address, std::uint16_t>> bound_;
    std::size_t planned_ = 0;
};

}  // namespace volary::cage
