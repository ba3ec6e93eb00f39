// SPDX-License-Identifier: Apache-2.0
// Project files are foreign text: parse, merge with itself, validate, and read rules out of it.
#include "dsl/grammar.hpp"
#include "dsl/merge.hpp"
#include "dsl/net_rule.hpp"
#include "dsl/scalars.hpp"
#include "dsl/validate.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace volary::dsl;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    Report report;
    report.add_file("project.yaml");
    auto parsed = parse_yaml(text, 0);
    if (!parsed.complete && parsed.problems.empty()) std::abort();
    auto root = parsed.root;
    validate(root, project_type(), {}, report);
    if (parsed.root.is(Node::Kind::mapping)) {
        auto merged = parsed.root;
        merge_overlay(merged, parsed.root, {}, report);
        validate(merged, cage_type(), {}, report);
        merge_cage(parsed.root, merged);
    }
    for (const auto& diagnostic : report.take()) {
        if (diagnostic.line < 1 || diagnostic.column < 1) std::abort();
    }
    if (size < 400) {
        (void)parse_net_rule(text);
        (void)parse_pointer(text);
        (void)parse_size(text);
        (void)parse_duration(text);
    }
    return 0;
}
