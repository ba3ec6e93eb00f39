// SPDX-License-Identifier: Apache-2.0
#include "base/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace volary {
namespace {

using std::chrono::milliseconds;

/// The number at the start of `text`, which is cut off; nothing without digits or beyond 63 bits.
std::optional<std::uint64_t> take_number(std::string_view& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value > (std::uint64_t{1} << 63U) - 1) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

struct DurationUnit {
    std::string_view name;
    std::uint64_t factor;
};
constexpr std::array kDurationUnits{
    DurationUnit{"ms", 1}, DurationUnit{"s", 1000}, DurationUnit{"m", 60'000},
    DurationUnit{"h", 3'600'000}, DurationUnit{"d", 86'400'000}
};
constexpr std::uint64_t kMaxDuration = std::uint64_t{30} * 86'400'000;
constexpr std::string_view kSizeUnits = "KMGT";

}  // namespace

std::optional<ByteCount> parse_size(std::string_view text) {
    const auto value = take_number(text);
    if (!value || *value == 0 || text.size() > 1) return std::nullopt;
    if (text.empty()) return ByteCount{*value};
    const auto unit = kSizeUnits.find(text.front());
    if (unit == std::string_view::npos) return std::nullopt;
    const auto shift = 10U * (static_cast<unsigned>(unit) + 1U);
    if (*value > ((std::uint64_t{1} << 63U) - 1) >> shift) return std::nullopt;
    return ByteCount{*value << shift};
}

std::string format_size(ByteCount size) {
    for (auto unit = kSizeUnits.size(); unit > 0; --unit) {
        const auto shift = 10U * static_cast<unsigned>(unit);
        const auto mask = (std::uint64_t{1} << shift) - 1;
        if (size.value != 0 && (size.value & mask) == 0) {
            return fmt::format("{}{}", size.value >> shift, kSizeUnits[unit - 1]);
        }
    }
    return fmt::format("{}", size.value);
}

std::optional<milliseconds> parse_duration(std::string_view text) {
    const auto value = take_number(text);
    if (!value || *value == 0) return std::nullopt;
    const auto unit = std::ranges::find(kDurationUnits, text, &DurationUnit::name);
    if (unit == kDurationUnits.end() || *value > kMaxDuration / unit->factor) return std::nullopt;
    return milliseconds(static_cast<std::int64_t>(*value * unit->factor));
}

std::string format_duration(milliseconds duration) {
    const auto value = static_cast<std::uint64_t>(duration.count());
    for (auto unit = kDurationUnits.rbegin(); unit != kDurationUnits.rend(); ++unit) {
        if (value % unit->factor == 0) return fmt::format("{}{}", value / unit->factor, unit->name);
    }
    return fmt::format("{}ms", value);
}

}  // namespace volary
