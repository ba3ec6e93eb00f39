// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/cage_card.hpp"

#include "base/json.hpp"
#include "cage/use.hpp"

#include <chrono>
#include <optional>
#include <type_traits>

#include <nlohmann/json.hpp>

namespace volary::agent {
namespace {

template <class Value>
Json limit(std::string_view name, const std::optional<Value>& value, std::string_view unit) {
    Json most = nullptr;
    if constexpr (std::is_same_v<Value, ByteCount>) {
        if (value) most = value->value;
    } else if constexpr (std::is_same_v<Value, std::chrono::milliseconds>) {
        if (value) most = value->count();
    } else {
        if (value) most = *value;
    }
    return {{"name", name}, {"limit", std::move(most)}, {"unit", unit}};
}

}  // namespace

std::string limit_list(const CageLimits& limits) {
    // A cage that does not say so has no swap, where the others have no limit.
    const std::optional swap = limits.swap.value_or(ByteCount{0});
    const Json out = {
        limit("memory", limits.memory, "bytes"), limit("swap", swap, "bytes"),
        limit("cpu", limits.cpu, "cpus"),        limit("pids", limits.pids, "count"),
        limit("wall", limits.wall, "ms"),        limit("disk", limits.disk, "bytes"),
        limit("files", limits.files, "count"),   limit("output", limits.output, "bytes")
    };
    return dump_json(out);
}

std::map<std::string, double> limit_use(const cage::CageUse& use) {
    const auto elapsed = static_cast<double>(use.elapsed.count());
    const auto busy = static_cast<double>(use.cpu_time.count()) / 1000.0;
    return {
        {"memory", static_cast<double>(use.memory)},
        {"cpu", elapsed > 0 ? busy / elapsed : 0.0},
        {"pids", static_cast<double>(use.pids)},
        {"wall", elapsed},
        {"disk", static_cast<double>(use.disk)}
    };
}

}  // namespace volary::agent
