// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/ceiling.hpp"
#include "base/clock.hpp"
#include "dsl/diagnostic.hpp"
#include "dsl/project.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace volary::store {
class Store;
}

namespace volary::session {

/// What the daemon knows of one project.
struct ProjectEntry {
    std::string name;
    std::string path;  ///< absolute folder
    /// The last good version of its file; null when there never was one since the start.
    std::shared_ptr<const dsl::Project> project;
    /// What is wrong with the file as it is now; empty when it is good.
    std::vector<dsl::Diagnostic> diagnostics;
};

/// The projects that were added to this daemon. Control thread only.
class Projects {
public:
    /// A project whose cages exceed `ceiling` is as invalid as one that cannot be read.
    Projects(store::Store& store, const Clock& clock, CageCeiling ceiling = {})
        : store_(store), clock_(clock), ceiling_(std::move(ceiling)) {}

    /// Reads every known project's file.
    asio::awaitable<void> load();

    /// Checks the file and remembers the folder. Throws Error{invalid} with all diagnostics, or
    /// Error{conflict} when another folder has a project of that name.
    asio::awaitable<ProjectEntry> add(std::string path);

    /// Reads the file again when it has changed; an invalid one keeps the last good version.
    /// Null when there is no such project.
    const ProjectEntry* refresh(const std::string& name);
    const ProjectEntry* find(const std::string& name) const;
    /// In order of name.
    std::vector<ProjectEntry> list() const;

private:
    store::Store& store_;
    const Clock& clock_;
    CageCeiling ceiling_;
    std::map<std::string, ProjectEntry> entries_;
};

}  // namespace volary::session
