// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/diagnostic.hpp"
#include "dsl/yaml.hpp"

#include <string>
#include <vector>

namespace volary::dsl {

/// Collects the problems of one load; the same problem at the same place counts once.
class Report {
public:
    /// Registers a file for marks and returns its index.
    int add_file(std::string name);
    const std::string& file(int index) const { return files_.at(static_cast<std::size_t>(index)); }

    void add(const Mark& mark, std::string path, std::string message, std::string hint = {});

    bool empty() const noexcept { return problems_.empty(); }

    /// In order of file, line and column; at most kMaxDiagnostics, the last says what is left out.
    std::vector<Diagnostic> take();

private:
    struct Problem {
        Mark mark;
        std::string path;
        std::string message;
        std::string hint;
        std::size_t order;
    };
    std::vector<std::string> files_;
    std::vector<Problem> problems_;
};

/// A screenful many times over; a file with more is of another kind.
inline constexpr std::size_t kMaxDiagnostics = 500;

/// `path` with one more key or index: "primary.tools", "net.allow[0]".
std::string join_key(const std::string& path, const std::string& key);
std::string join_index(const std::string& path, std::size_t index);

}  // namespace volary::dsl
