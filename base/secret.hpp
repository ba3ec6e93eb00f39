// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

namespace volary {

/// A value that must not be shown: no formatter, no stream operator, no comparison that leaks.
/// The bytes are overwritten when it goes.
class Secret {
public:
    Secret() = default;
    explicit Secret(std::string value) : value_(std::move(value)) {}
    Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.wipe(); }
    Secret& operator=(Secret&& other) noexcept;
    Secret(const Secret&) = default;
    Secret& operator=(const Secret&) = default;
    ~Secret() { wipe(); }

    bool empty() const noexcept { return value_.empty(); }

    /// The one way out, so that each use can be found by its name.
    const std::string& reveal() const noexcept { return value_; }

    /// Constant-time comparison with a candidate.
    bool matches(const std::string& candidate) const noexcept;

private:
    void wipe() noexcept;

    std::string value_;
};

}  // namespace volary
