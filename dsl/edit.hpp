// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <expected>
#include <string>
#include <string_view>

namespace volary::dsl {

/// A project file with one rule more: everything else is byte for byte as it was.
struct FileEdit {
    std::string text;  ///< the whole new file
    /// Unified, 3 lines of context, "--- a/.volary/project.yaml" and "+++ b/..." on top.
    std::string diff;
};

/// Adds `rule` to `cage.net.allow` of the agent `agent_path` ("primary/scraper") in `file_text`, a
/// project file that loads. Comments, order and style stay; missing keys are made with the file's
/// indentation. Where the agent takes its list from `cage_defaults`, that list is copied first,
/// because lists replace. A rule for the same host and port is replaced where it stands.
///
/// Pure: nothing is read or written. The error says in one sentence why the text cannot be edited
/// safely; the result was parsed again and differs from the old document by the rule alone. What
/// else is to be checked (an overlay, the ceiling) is found by loading it: load_project_text().
std::expected<FileEdit, std::string> add_net_rule(
    std::string_view file_text, std::string_view agent_path, const NetRule& rule
);

/// The same for `cage.fs`. `rule.source` lies beneath `rule.root`, the project's root. An agent
/// without `fs` has a writable workspace, and keeps it: the root is then listed too.
std::expected<FileEdit, std::string> add_fs_rule(
    std::string_view file_text, std::string_view agent_path, const FsRule& rule
);

}  // namespace volary::dsl
