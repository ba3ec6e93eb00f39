// SPDX-License-Identifier: Apache-2.0
#include "dsl/load.hpp"

#include "dsl/build.hpp"
#include "dsl/load_tree.hpp"
#include "dsl/merge.hpp"
#include "dsl/validate.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kProjectFile = "project.yaml";
constexpr std::string_view kOverlayFile = "project.local.yaml";

/// Parses into `report`; nothing when what was read is no usable document.
std::optional<Node> parse_into(std::string_view text, int file, Report& report) {
    auto parsed = parse_yaml(text, file);
    for (auto& problem : parsed.problems) {
        report.add(problem.mark, {}, std::move(problem.message), std::move(problem.hint));
    }
    if (!parsed.complete) return std::nullopt;
    return std::move(parsed.root);
}

/// The root of the project that `given` names: itself, or the folder around a project file.
fs::path root_of(const fs::path& given) {
    std::error_code ignored;
    if (!fs::is_directory(given, ignored) && given.has_filename()) {
        const auto folder = given.parent_path();
        const auto name = folder.filename();
        if (name == ".volary" || name == ".kaged") {
            return folder.has_parent_path() ? folder.parent_path() : fs::path(".");
        }
    }
    return given;
}

void merge_into(Node& root, const Node& overlay, Report& report) {
    if (overlay.is(Node::Kind::null)) return;  // An empty file changes nothing.
    if (!overlay.is(Node::Kind::mapping)) {
        report.add(
            overlay.mark, {},
            fmt::format("expected a map of what changes, found {}", describe(overlay.kind))
        );
        return;
    }
    auto rest = overlay;
    for (const auto* locked : {"version", "project"}) {
        const auto at = std::ranges::find(rest.members, locked, &Member::key);
        if (at == rest.members.end()) continue;
        report.add(
            at->mark, locked, fmt::format("\"{}\" cannot be changed by an overlay", locked),
            "change it in project.yaml or remove it here"
        );
        rest.members.erase(at);
    }
    merge_overlay(root, rest, {}, report);
}

/// `given` stands for what is on disk where it is not null.
std::optional<Node> read_layer(
    const ProjectFolder& folder, const std::string& relative, Report& report, bool needed,
    const std::string_view* given = nullptr
) {
    const auto index = report.add_file(folder.root() + "/" + relative);
    if (given != nullptr) return parse_into(*given, index, report);
    auto text = folder.read(relative, kMaxYamlBytes);
    const Mark whole{index, 1, 1};
    if (!text) {
        report.add(whole, {}, std::move(text.error().message), std::move(text.error().hint));
        return std::nullopt;
    }
    if (!*text) {
        if (needed) {
            report.add(
                whole, {}, "there is no such file",
                "a project is a folder with .volary/project.yaml"
            );
        }
        return std::nullopt;
    }
    return parse_into(**text, index, report);
}

bool has_both(const ProjectFolder& folder) {
    const auto file = "/" + std::string(kProjectFile);
    return folder.exists(".volary" + file) && folder.exists(".kaged" + file);
}

LoadedTree load_from(
    const ProjectFolder& folder, const CageCeiling* ceiling, Report& report,
    const std::string_view* given
) {
    LoadedTree out;
    const auto base = folder.config() + "/";
    auto root = read_layer(folder, base + std::string(kProjectFile), report, true, given);
    const auto overlay = read_layer(folder, base + std::string(kOverlayFile), report, false);
    if (!root) return out;
    if (overlay && root->is(Node::Kind::mapping)) merge_into(*root, *overlay, report);
    out.root = std::move(*root);
    validate(out.root, project_type(), {}, report);
    auto project = build_project(out.root, folder, ceiling, report);
    project.file = report.file(0);
    if (report.empty()) out.project = std::move(project);
    return out;
}

}  // namespace

LoadedTree load_tree(
    const fs::path& given, const CageCeiling* ceiling, Report& report, const std::string_view* text
) {
    const auto root = root_of(given);
    auto folder = ProjectFolder::open(root, ".volary");
    if (folder && !folder->exists(".volary") && folder->exists(".kaged")) {
        folder = ProjectFolder::open(root, ".kaged");
    } else if (folder && has_both(*folder)) {
        // What is not there cannot be mounted read-only: a cage of a project in .kaged/ could make
        // the other file, and the next one would be what it says.
        const Mark file{
            report.add_file(folder->root() + "/.volary/" + std::string(kProjectFile)), 1, 1
        };
        report.add(
            file, {}, "there is a project file in .kaged/, too: only you know which one counts",
            "remove the other one; an agent may have made it"
        );
        return {};
    }
    if (!folder) {
        const auto index = report.add_file(root.string());
        report.add(
            {index, 1, 1}, {}, std::move(folder.error().message), std::move(folder.error().hint)
        );
        return {};
    }
    return load_from(*folder, ceiling, report, text);
}

LoadResult load_project(const fs::path& root, const CageCeiling* ceiling) {
    Report report;
    LoadResult result;
    result.project = load_tree(root, ceiling, report).project;
    result.diagnostics = report.take();
    return result;
}

LoadResult load_project_text(
    const fs::path& root, std::string_view text, const CageCeiling* ceiling
) {
    Report report;
    LoadResult result;
    result.project = load_tree(root, ceiling, report, &text).project;
    result.diagnostics = report.take();
    return result;
}

PolicyResult load_policy(const fs::path& file, const fs::path& workspace) {
    Report report;
    PolicyResult result;
    const Mark whole{report.add_file(file.string()), 1, 1};
    const auto finish = [&](std::optional<FileProblem> problem) {
        if (problem) report.add(whole, {}, std::move(problem->message), std::move(problem->hint));
        result.diagnostics = report.take();
        return std::move(result);
    };
    const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) return finish(FileProblem{fmt::format("open: {}", std::strerror(errno)), {}});
    auto folder = ProjectFolder::open(workspace, ".volary");
    if (!folder) return finish(std::move(folder.error()));
    auto text = read_regular(fd.get(), kMaxYamlBytes);
    if (!text) return finish(std::move(text.error()));
    auto root = parse_into(*text, whole.file, report);
    if (!root) return finish(std::nullopt);
    // An empty file is the default policy.
    if (!root->is(Node::Kind::null)) validate(*root, cage_type(), {}, report);
    auto built = build_cage(&*root, &*root, {}, *folder, report);
    for (const auto* key : {"detached", "disabled"}) {
        if (const auto said = built.keys.find(key); said != built.keys.end())
            report.add(said->second.mark, key, "has no meaning in a policy alone", "remove it");
    }
    fill_limits(built.policy.limits, {});
    if (report.empty()) result.policy = std::move(built.policy);
    return finish(std::nullopt);
}

}  // namespace volary::dsl
