// SPDX-License-Identifier: Apache-2.0
#include "dsl/merge.hpp"

#include "dsl/scalars.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

/// A map that is new as a whole has nothing for its nulls to remove.
void refuse_nulls(const Node& node, const std::string& path, Report& report) {
    for (const auto& member : node.members) {
        const auto below = join_key(path, member.key);
        if (member.value.is(Node::Kind::null)) {
            report.add(member.mark, below, "null removes a key, and there is none to remove");
        }
        refuse_nulls(member.value, below, report);
    }
}

void drop_nulls(Node& node) {
    std::erase_if(node.members, [](const Member& m) { return m.value.is(Node::Kind::null); });
    for (auto& member : node.members) drop_nulls(member.value);
}

void tell_nothing_to_remove(
    const Node& base, const Member& member, const std::string& path, Report& report
) {
    Suggestion suggestion(member.key);
    for (const auto& other : base.members) suggestion.offer(other.key);
    report.add(
        member.mark, path, "null removes a key, and there is none to remove", suggestion.hint()
    );
}

}  // namespace

void merge_overlay(Node& base, const Node& overlay, const std::string& path, Report& report) {
    for (const auto& member : overlay.members) {
        const auto below = join_key(path, member.key);
        const auto at = std::ranges::find(base.members, member.key, &Member::key);
        if (member.value.is(Node::Kind::null)) {
            if (at == base.members.end()) {
                tell_nothing_to_remove(base, member, below, report);
            } else {
                base.members.erase(at);
            }
            continue;
        }
        if (at != base.members.end() && at->value.is(Node::Kind::mapping) &&
            member.value.is(Node::Kind::mapping)) {
            merge_overlay(at->value, member.value, below, report);
            continue;
        }
        refuse_nulls(member.value, below, report);
        auto fresh = member;
        drop_nulls(fresh.value);
        if (at != base.members.end()) {
            *at = std::move(fresh);
        } else {
            base.members.push_back(std::move(fresh));
        }
    }
}

Node merge_cage(const Node& defaults, const Node& own) {
    auto out = defaults;
    out.mark = own.mark;
    for (const auto& member : own.members) {
        const auto at = std::ranges::find(out.members, member.key, &Member::key);
        if (at == out.members.end()) {
            out.members.push_back(member);
        } else if (at->value.is(Node::Kind::mapping) && member.value.is(Node::Kind::mapping)) {
            at->value = merge_cage(at->value, member.value);
        } else {
            *at = member;
        }
    }
    std::erase_if(out.members, [](const Member& m) { return m.value.is(Node::Kind::null); });
    return out;
}

}  // namespace volary::dsl
