// SPDX-License-Identifier: Apache-2.0
#include "base/net_cover.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>

namespace volary {
namespace {

using Kind = NetRule::Kind;

using Block = NetCover::Block;

/// An empty block (width 0) for what is neither an address nor a block.
Block block_of(const NetRule& rule) {
    Block block;
    const auto slash = std::min(rule.host.find('/'), rule.host.size());
    const auto address = rule.host.substr(0, slash);
    if (::inet_pton(AF_INET6, address.c_str(), block.bytes.data()) == 1) {
        block.width = 128;
    } else if (::inet_pton(AF_INET, address.c_str(), block.bytes.data()) == 1) {
        block.width = 32;
    } else {
        return block;
    }
    block.prefix = block.width;
    if (slash == rule.host.size()) return block;
    const auto* const first = rule.host.data() + slash + 1;
    const auto* const last = rule.host.data() + rule.host.size();
    const auto [end, error] = std::from_chars(first, last, block.prefix);
    if (error != std::errc{} || end != last || block.prefix > block.width) return {};
    return block;
}

bool contains(const Block& outer, const Block& inner) {
    if (outer.width == 0 || outer.width != inner.width || outer.prefix > inner.prefix) return false;
    for (unsigned bit = 0; bit < outer.prefix; bit += 8) {
        const auto kept = std::min(outer.prefix - bit, 8U);
        const auto mask = static_cast<std::uint8_t>(0xFF00U >> kept);
        if (((outer.bytes[bit / 8] ^ inner.bytes[bit / 8]) & mask) != 0) return false;
    }
    return true;
}

bool is_address(Kind kind) { return kind == Kind::address || kind == Kind::cidr; }

/// A path rule is exact or ends in "*".
bool covers_path(const std::string& bound, const std::string& path) {
    if (!bound.ends_with('*')) return bound == path;
    const std::string_view prefix(bound.data(), bound.size() - 1);
    return std::string_view(path).starts_with(prefix);
}

/// Empty lists stand for "all".
bool covers_requests(const NetRule& bound, const NetRule& rule) {
    if (!bound.methods.empty()) {
        const auto allowed = [&](const std::string& method) {
            return std::ranges::find(bound.methods, method) != bound.methods.end();
        };
        if (rule.methods.empty() || !std::ranges::all_of(rule.methods, allowed)) return false;
    }
    if (bound.paths.empty()) return true;
    return !rule.paths.empty() && std::ranges::all_of(rule.paths, [&](const std::string& path) {
        return std::ranges::any_of(bound.paths, [&](const std::string& outer) {
            return covers_path(outer, path);
        });
    });
}

/// Without a word of its own a rule expects the name that was asked for.
bool same_server(const NetRule& bound, const NetRule& rule) {
    const auto own = [](const NetRule& r) { return r.sni.empty() ? r.host : r.sni; };
    if (rule.kind == Kind::name && bound.kind == Kind::name) return own(bound) == own(rule);
    const bool usual = rule.sni.empty() || (rule.kind == Kind::name && rule.sni == rule.host);
    return bound.sni.empty() ? usual : rule.sni == bound.sni;
}

Block block_if_address(const NetRule& rule) {
    return is_address(rule.kind) ? block_of(rule) : Block{};
}

bool covers_target(
    const NetRule& bound, const Block& bound_block, const NetRule& rule, const Block& block
) {
    if (bound.port != rule.port) return false;
    if (is_address(bound.kind) || is_address(rule.kind)) return contains(bound_block, block);
    if (bound.kind == Kind::wildcard) {
        if (rule.kind == Kind::wildcard && rule.host == bound.host) return true;
        return rule.kind != Kind::host && matches_name(bound, rule.host);
    }
    return bound.kind == rule.kind && bound.host == rule.host;
}

/// What covers() asks beyond the target.
bool covers_words(const NetRule& bound, const NetRule& rule) {
    if (rule.allow_private && !bound.allow_private) return false;
    if (rule.credential != bound.credential) return false;
    return same_server(bound, rule) && covers_requests(bound, rule);
}

}  // namespace

bool covers_target(const NetRule& bound, const NetRule& rule) {
    return covers_target(bound, block_if_address(bound), rule, block_if_address(rule));
}

bool covers(const NetRule& bound, const NetRule& rule) {
    return covers_words(bound, rule) && covers_target(bound, rule);
}

NetCover::NetCover(const std::vector<NetRule>& bounds) {
    entries_.reserve(bounds.size());
    for (const auto& rule : bounds) entries_.push_back({&rule, block_if_address(rule)});
}

bool NetCover::targets(const Entry& entry, const NetRule& rule, const Block& block) {
    // Told apart by the entry alone where that is enough: the rules themselves lie far apart.
    if (entry.block.width != block.width) return false;
    if (block.width != 0 && !contains(entry.block, block)) return false;
    return covers_target(*entry.rule, entry.block, rule, block);
}

bool NetCover::covers(const NetRule& rule) const {
    const auto block = block_if_address(rule);
    return std::ranges::any_of(entries_, [&](const Entry& entry) {
        return targets(entry, rule, block) && covers_words(*entry.rule, rule);
    });
}

const NetRule* NetCover::find_target(const NetRule& rule) const {
    const auto block = block_if_address(rule);
    for (const auto& entry : entries_)
        if (targets(entry, rule, block)) return entry.rule;
    return nullptr;
}

}  // namespace volary
