// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace volary {

/// An opaque id of one kind of thing. Two kinds never mix, and none is built from a string by
/// accident.
template <class Tag>
class StrongId {
public:
    StrongId() = default;
    explicit StrongId(std::string value) : value_(std::move(value)) {}

    const std::string& str() const noexcept { return value_; }
    bool empty() const noexcept { return value_.empty(); }
    auto operator<=>(const StrongId&) const = default;

    /// A fresh id: the tag's prefix and a ULID, e.g. "ses_01JD...".
    static StrongId make(const Clock& clock);

private:
    std::string value_;
};

/// 26 characters of Crockford base32: 48 bits of `at`, then 80 random bits; two ids of one
/// process and millisecond still sort in the order in which they were made
/// (https://github.com/ulid/spec).
std::string make_ulid(UnixMillis at);

/// True for `prefix` + '_' + a well-formed ULID; what a route checks before it looks up.
bool is_id(std::string_view text, std::string_view prefix);

struct SessionTag {
    static constexpr std::string_view prefix = "ses";
};
struct RunTag {
    static constexpr std::string_view prefix = "run";
};
struct InvocationTag {
    static constexpr std::string_view prefix = "inv";
};
struct CageTag {
    static constexpr std::string_view prefix = "cage";
};
struct StepTag {
    static constexpr std::string_view prefix = "step";
};
struct ItemTag {
    static constexpr std::string_view prefix = "item";
};
struct MessageTag {
    static constexpr std::string_view prefix = "msg";
};
struct DeviceTag {
    static constexpr std::string_view prefix = "dev";
};

using SessionId = StrongId<SessionTag>;
using RunId = StrongId<RunTag>;
using InvocationId = StrongId<InvocationTag>;
using CageId = StrongId<CageTag>;
using StepId = StrongId<StepTag>;
using ItemId = StrongId<ItemTag>;
using MessageId = StrongId<MessageTag>;
using DeviceId = StrongId<DeviceTag>;

template <class Tag>
StrongId<Tag> StrongId<Tag>::make(const Clock& clock) {
    return StrongId(std::string(Tag::prefix) + "_" + make_ulid(clock.now_ms()));
}

}  // namespace volary

template <class Tag>
struct std::hash<volary::StrongId<Tag>> {
    std::size_t operator()(const volary::StrongId<Tag>& id) const noexcept {
        return std::hash<std::string>{}(id.str());
    }
};
