// SPDX-License-Identifier: Apache-2.0
#include "base/suggestion.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace volary {

std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
    const auto gap = a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
    if (gap > limit) return limit + 1;
    std::vector<std::size_t> before(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const auto same = a[i - 1] == b[j - 1] ? std::size_t{0} : std::size_t{1};
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + same});
            const auto swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
        }
        if (std::ranges::min(row) > limit) return limit + 1;
        std::swap(before, last);
        std::swap(last, row);
    }
    return std::min(last[b.size()], limit + 1);
}

Suggestion::Suggestion(std::string_view wanted)
    : wanted_(wanted),
      // A third of the letters wrong is a typo; more is another word. Long texts are no typos.
      distance_(wanted.size() > 64 ? 0 : std::min<std::size_t>(wanted.size() / 3, 3) + 1) {}

void Suggestion::offer(std::string_view candidate) {
    if (distance_ == 0 || candidate.size() > 64) return;
    const auto distance = edit_distance(wanted_, candidate, distance_ - 1);
    if (distance >= distance_) return;
    distance_ = distance;
    best_ = candidate;
}

std::string Suggestion::hint() const {
    return best_.empty() ? std::string() : fmt::format("did you mean \"{}\"?", best_);
}

}  // namespace volary
