// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/compiler.hpp"

#include <map>
#include <string>

namespace volary::cage::test {

/// A host of a few paths, the same on every machine.
class FakeHost final : public HostView {
public:
    std::map<std::string, PathKind> kinds{
        {"/usr", PathKind::folder},     {"/bin", PathKind::link}, {"/lib64", PathKind::link},
        {"/etc/ssl", PathKind::folder}, {"/p", PathKind::folder},
    };
    PathKind kind(const std::string& path) const override {
        const auto found = kinds.find(path);
        return found == kinds.end() ? PathKind::absent : found->second;
    }
    std::string link_target(const std::string& path) const override { return "usr" + path; }
    std::vector<std::string> folders(const std::string& path) const override {
        std::vector<std::string> out;
        const auto start = path == "/" ? path : path + "/";
        for (const auto& [each, kind] : kinds)
            if (kind == PathKind::folder && each.starts_with(start) &&
                each.find('/', start.size()) == std::string::npos)
                out.push_back(each.substr(start.size()));
        return out;
    }
};

CageSpec spec_of(const CagePolicy& policy);
CagePolicy project();

/// One of everything, with its paths on `host`.
CagePolicy golden_policy(FakeHost& host);

/// The message of the Error that compiling ends with; "" when it works.
std::string refusal(const CageSpec& spec, const HostView& host);

/// The mount at `target`; null when there is none.
const Mount* find(const CompiledCage& cage, const std::string& target);

/// Compares with a golden file; VOLARY_ACCEPT=1 writes it anew.
void check_golden(const std::string& name, const std::string& text);

}  // namespace volary::cage::test
