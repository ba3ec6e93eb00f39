// SPDX-License-Identifier: Apache-2.0
#include "dsl/scalars.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

bool valid_pointer(std::string_view text) {
    if (text.empty()) return true;
    if (text.front() != '/') return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '~') continue;
        if (i + 1 >= text.size() || (text[i + 1] != '0' && text[i + 1] != '1')) return false;
    }
    return true;
}

/// Appends one step of the short form; "~" and "/" are escaped as the RFC says.
bool append_step(std::string& out, std::string_view step) {
    if (step.empty()) return false;
    out.push_back('/');
    for (const char c : step) {
        if (c == '~') {
            out += "~0";
        } else if (c == '/') {
            out += "~1";
        } else {
            out.push_back(c);
        }
    }
    return true;
}

}  // namespace

std::optional<std::string> parse_pointer(std::string_view text) {
    if (!text.starts_with('$')) {
        return valid_pointer(text) ? std::optional(std::string(text)) : std::nullopt;
    }
    text.remove_prefix(1);
    std::string out;
    while (!text.empty()) {
        const char opener = text.front();
        text.remove_prefix(1);
        if (opener == '.') {
            const auto end = std::min(text.find_first_of(".["), text.size());
            if (!append_step(out, text.substr(0, end))) return std::nullopt;
            text.remove_prefix(end);
        } else if (opener == '[') {
            const auto end = text.find(']');
            if (end == std::string_view::npos || end == 0) return std::nullopt;
            const auto index = text.substr(0, end);
            if (index.find_first_not_of("0123456789") != std::string_view::npos)
                return std::nullopt;
            if (!append_step(out, index)) return std::nullopt;
            text.remove_prefix(end + 1);
        } else {
            return std::nullopt;
        }
    }
    return out;
}

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

}  // namespace volary::dsl
