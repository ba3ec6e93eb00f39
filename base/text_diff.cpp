// SPDX-License-Identifier: Apache-2.0
#include "base/text_diff.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <fmt/format.h>

namespace volary {
namespace {

constexpr std::size_t kAround = 3;
/// Insertions and deletions beyond which no shortest script is searched: the search keeps a trace
/// of the square of it, 4 MB.
constexpr int kMaxEdits = 1000;

using Lines = std::vector<std::string_view>;

Lines lines_of(std::string_view text) {
    Lines out;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size() - 1);
        out.push_back(text.substr(0, end + 1));
        text.remove_prefix(end + 1);
    }
    return out;
}

/// One line of the result: ' ' in both, '-' only old, '+' only new.
struct Edit {
    char kind;
    std::string_view line;
};

/// Myers' shortest edit script ("An O(ND) Difference Algorithm", 1986) by its greedy search, the
/// furthest places of each round kept for the way back.
class Search {
public:
    Search(const Lines& from, const Lines& to)
        : from_(from),
          to_(to),
          n_(static_cast<int>(from.size())),
          m_(static_cast<int>(to.size())) {}

    std::vector<Edit> run() {
        std::vector<int> furthest(static_cast<std::size_t>(2 * kMaxEdits + 3), 0);
        for (int d = 0; d <= std::min(kMaxEdits, n_ + m_); ++d) {
            for (int k = -d; k <= d; k += 2) {
                const bool down = k == -d || (k != d && at(furthest, k - 1) < at(furthest, k + 1));
                int x = down ? at(furthest, k + 1) : at(furthest, k - 1) + 1;
                while (x < n_ && x - k < m_ && same(x, x - k)) ++x;
                at(furthest, k) = x;
                if (x < n_ || x - k < m_) continue;
                return walk_back(d);
            }
            trace_.emplace_back(
                furthest.begin() + kMaxEdits + 1 - d, furthest.begin() + kMaxEdits + 2 + d
            );
        }
        return replace_all();
    }

private:
    static int& at(std::vector<int>& furthest, int k) {
        const int index = k + kMaxEdits + 1;
        return furthest[static_cast<std::size_t>(index)];
    }
    bool same(int x, int y) const {
        return from_[static_cast<std::size_t>(x)] == to_[static_cast<std::size_t>(y)];
    }
    /// The furthest place on diagonal `k` after round `d`; before the start when there is none.
    int reached(int d, int k) const {
        if (k < -d || k > d) return -1;
        const int index = k + d;
        return trace_[static_cast<std::size_t>(d)][static_cast<std::size_t>(index)];
    }

    std::vector<Edit> walk_back(int rounds) const {
        std::vector<Edit> out;
        int x = n_;
        int y = m_;
        for (int d = rounds; d > 0; --d) {
            const int k = x - y;
            const bool down = k == -d || (k != d && reached(d - 1, k - 1) < reached(d - 1, k + 1));
            const int from_x = reached(d - 1, down ? k + 1 : k - 1);
            const int from_y = from_x - (down ? k + 1 : k - 1);
            const int start = down ? from_x : from_x + 1;
            for (; x > start; --x, --y) out.push_back({' ', line(from_, x - 1)});
            if (down) out.push_back({'+', line(to_, y - 1)});
            if (!down) out.push_back({'-', line(from_, x - 1)});
            x = from_x;
            y = from_y;
        }
        for (; x > 0; --x) out.push_back({' ', line(from_, x - 1)});
        std::reverse(out.begin(), out.end());
        return out;
    }

    std::vector<Edit> replace_all() const {
        std::vector<Edit> out;
        for (const auto each : from_) out.push_back({'-', each});
        for (const auto each : to_) out.push_back({'+', each});
        return out;
    }

    static std::string_view line(const Lines& lines, int index) {
        return lines[static_cast<std::size_t>(index)];
    }

    const Lines& from_;
    const Lines& to_;
    int n_, m_;
    std::vector<std::vector<int>> trace_;
};

std::string range(std::size_t first, std::size_t count) {
    // diff(1): an empty range names the line before it.
    if (count == 1) return fmt::format("{}", first + 1);
    return fmt::format("{},{}", count == 0 ? first : first + 1, count);
}

void add_line(std::string& out, const Edit& edit) {
    out += edit.kind;
    out += edit.line;
    if (!edit.line.ends_with('\n')) out += "\n\\ No newline at end of file\n";
}

}  // namespace

std::string unified_diff(
    std::string_view old_text, std::string_view new_text, std::string_view old_name,
    std::string_view new_name
) {
    const auto from = lines_of(old_text);
    const auto to = lines_of(new_text);
    const auto edits = Search(from, to).run();
    std::string out;
    std::size_t old_line = 0;
    std::size_t new_line = 0;
    for (std::size_t i = 0; i < edits.size();) {
        if (edits[i].kind == ' ') {
            ++i, ++old_line, ++new_line;
            continue;
        }
        const auto lead = std::min(kAround, std::min(old_line, new_line));
        std::size_t end = i;
        // A gap of unchanged lines that both neighbours would show joins them.
        for (std::size_t j = i; j < edits.size() && j - end <= 2 * kAround; ++j)
            if (edits[j].kind != ' ') end = j + 1;
        const auto stop = std::min(end + kAround, edits.size());
        std::string body;
        std::size_t olds = 0;
        std::size_t news = 0;
        for (std::size_t j = i - lead; j < stop; ++j) {
            add_line(body, edits[j]);
            olds += edits[j].kind != '+' ? 1U : 0U;
            news += edits[j].kind != '-' ? 1U : 0U;
        }
        if (out.empty()) out = fmt::format("--- {}\n+++ {}\n", old_name, new_name);
        out += fmt::format(
            "@@ -{} +{} @@\n", range(old_line - lead, olds), range(new_line - lead, news)
        );
        out += body;
        old_line += olds - lead;
        new_line += news - lead;
        i = stop;
    }
    return out;
}

}  // namespace volary
