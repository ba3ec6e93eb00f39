// SPDX-License-Identifier: Apache-2.0
#include "dsl/report.hpp"

#include "base/bytes.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

constexpr std::size_t kMaxMessage = 400;  // Quotes foreign text, which may be long.

std::string shorten(std::string text) {
    // A diagnostic is one line; control characters of the file must not reach a terminal.
    for (auto& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    }
    if (text.size() <= kMaxMessage) return text;
    return std::string(utf8_prefix(text, kMaxMessage)) + "...";
}

}  // namespace

int Report::add_file(std::string name) {
    files_.push_back(std::move(name));
    return static_cast<int>(files_.size()) - 1;
}

void Report::add(const Mark& mark, std::string path, std::string message, std::string hint) {
    problems_.push_back(
        {mark, shorten(std::move(path)), shorten(std::move(message)), shorten(std::move(hint)),
         problems_.size()}
    );
}

std::vector<Diagnostic> Report::take() {
    const auto place = [](const Problem& p) { return std::tie(p.mark, p.message); };
    // The first to tell of a place is the one who knows its own path.
    const auto order = [](const Problem& p) { return std::tie(p.mark, p.message, p.order); };
    std::ranges::sort(problems_, {}, order);
    const auto doubles = std::ranges::unique(problems_, {}, place);
    problems_.erase(doubles.begin(), doubles.end());
    std::vector<Diagnostic> out;
    for (auto& p : problems_) {
        if (out.size() == kMaxDiagnostics) {
            const auto left = problems_.size() - out.size();
            out.back().hint = fmt::format("and {} more problems", left);
            break;
        }
        out.push_back(
            {file(p.mark.file), p.mark.line, p.mark.column, std::move(p.path), std::move(p.message),
             std::move(p.hint)}
        );
    }
    problems_.clear();
    return out;
}

std::string join_key(const std::string& path, const std::string& key) {
    return path.empty() ? key : path + "." + key;
}

std::string join_index(const std::string& path, std::size_t index) {
    return fmt::format("{}[{}]", path, index);
}

}  // namespace volary::dsl
