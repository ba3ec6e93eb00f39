// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace volary {

/// Edit distance with swapped neighbours as one edit (optimal string alignment); stops above
/// `limit` and returns limit + 1.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit);

/// Collects candidates and keeps the one nearest to `wanted`, if it is near enough to be meant.
class Suggestion {
public:
    explicit Suggestion(std::string_view wanted);
    void offer(std::string_view candidate);
    /// "did you mean \"model\"?" or empty.
    std::string hint() const;

private:
    std::string wanted_;
    std::string best_;
    std::size_t distance_;
};

}  // namespace volary
