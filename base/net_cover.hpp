// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace volary {

/// covers() of policy.hpp for many rules: the addresses of the bounds are read once.
/// The rules that it is made of must outlive it.
class NetCover {
public:
    explicit NetCover(const std::vector<NetRule>& bounds);

    /// True when one of the bounds covers `rule`.
    bool covers(const NetRule& rule) const;

    /// The first bound that covers the target of `rule`, or null.
    const NetRule* find_target(const NetRule& rule) const;

    /// An address block in network order; an address is a block of its whole width.
    struct Block {
        std::array<std::uint8_t, 16> bytes{};
        unsigned width = 0;  ///< bits of an address: 32 or 128; 0: no address
        unsigned prefix = 0;
    };

private:
    struct Entry {
        const NetRule* rule;
        Block block;
    };
    static bool targets(const Entry& entry, const NetRule& rule, const Block& block);

    std::vector<Entry> entries_;
};

}  // namespace volary
