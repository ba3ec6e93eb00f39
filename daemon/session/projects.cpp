// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/projects.hpp"

#include "base/error.hpp"
#include "daemon/store/store.hpp"
#include "dsl/load.hpp"

#include <filesystem>

#include <fmt/format.h>

namespace volary::session {
namespace {

Error refused(const std::string& path, const std::vector<dsl::Diagnostic>& diagnostics) {
    std::vector<std::string> details;
    details.reserve(diagnostics.size());
    for (const auto& diagnostic : diagnostics) details.push_back(diagnostic.text());
    const auto problems =
        details.size() == 1 ? "1 problem" : fmt::format("{} problems", details.size());
    Error error(Errc::invalid, fmt::format("the project in \"{}\" has {}", path, problems));
    error.with_details(std::move(details));
    return error;
}

void take(ProjectEntry& entry, dsl::LoadResult loaded) {
    entry.diagnostics = std::move(loaded.diagnostics);
    if (!loaded.project) return;
    // A good file may still carry warnings; a renamed project is another one.
    entry.project = std::make_shared<const dsl::Project>(std::move(*loaded.project));
}

}  // namespace

asio::awaitable<void> Projects::load() {
    const auto rows = co_await store_.projects();
    for (const auto& row : rows) {
        ProjectEntry entry{row.name, row.path, nullptr, {}};
        take(entry, dsl::load_project(row.path, &ceiling_));
        entries_.insert_or_assign(row.name, std::move(entry));
    }
}

asio::awaitable<ProjectEntry> Projects::add(std::string path) {
    std::error_code ignored;
    if (path.empty() || path.front() != '/')
        throw Error(Errc::invalid, "body.path: must be an absolute path");
    const auto folder = std::filesystem::weakly_canonical(path, ignored).string();
    auto loaded = dsl::load_project(folder, &ceiling_);
    if (!loaded.project) throw refused(folder, loaded.diagnostics);
    const auto name = loaded.project->name;
    const auto* known = find(name);
    if (known != nullptr && known->path != folder)
        throw Error(
            Errc::conflict,
            fmt::format("a project \"{}\" is there already, in \"{}\"", name, known->path)
        );
    store::ProjectRow row{name, folder, clock_.now_ms()};
    co_await store_.put_project(std::move(row));
    ProjectEntry entry{name, folder, nullptr, {}};
    take(entry, std::move(loaded));
    entries_.insert_or_assign(name, entry);
    co_return entry;
}

const ProjectEntry* Projects::refresh(const std::string& name) {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return nullptr;
    take(found->second, dsl::load_project(found->second.path, &ceiling_));
    return &found->second;
}

const ProjectEntry* Projects::find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
}

std::vector<ProjectEntry> Projects::list() const {
    std::vector<ProjectEntry> out;
    out.reserve(entries_.size());
    for (const auto& [name, entry] : entries_) out.push_back(entry);
    return out;
}

}  // namespace volary::session
