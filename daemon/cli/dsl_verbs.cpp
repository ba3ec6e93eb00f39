// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/cli/verbs.hpp"
#include "dsl/load.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

Json diagnostics_json(const std::vector<dsl::Diagnostic>& diagnostics) {
    Json out = Json::array();
    for (const auto& d : diagnostics)
        out.push_back(
            {{"file", d.file},
             {"line", d.line},
             {"column", d.column},
             {"path", d.path},
             {"message", d.message},
             {"hint", d.hint}}
        );
    return out;
}

int refuse(const std::vector<dsl::Diagnostic>& diagnostics) {
    for (const auto& diagnostic : diagnostics) fmt::print(stderr, "{}\n", diagnostic.text());
    fmt::print(stderr, "{} problem{}\n", diagnostics.size(), diagnostics.size() == 1 ? "" : "s");
    return 1;
}

}  // namespace

int dsl_validate(const Context& context, const std::string& path) {
    const auto loaded = dsl::load_project(path);
    const bool valid = loaded.project.has_value();
    if (context.json) {
        print_json({{"valid", valid}, {"diagnostics", diagnostics_json(loaded.diagnostics)}});
        return valid ? 0 : 1;
    }
    if (!valid) return refuse(loaded.diagnostics);
    print_line(fmt::format("{} is valid", loaded.project->file));
    return 0;
}

int dsl_show(const Context&, const std::string& path, bool origin) {
    if (origin) {
        const auto shown = dsl::show_origin(path);
        if (shown.json.empty()) return refuse(shown.diagnostics);
        print_line(shown.json);
        return 0;
    }
    const auto loaded = dsl::load_project(path);
    if (!loaded.project) return refuse(loaded.diagnostics);
    print_line(dsl::show_json(*loaded.project));
    return 0;
}

int dsl_schema() {
    print_line(dsl::json_schema());
    return 0;
}

}  // namespace volary::cli
