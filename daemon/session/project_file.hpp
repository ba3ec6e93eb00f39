// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace volary::session {

/// The text of a project file. Blocks. Throws Error: not_found, invalid for what is no regular file
/// of at most 1 MiB (a symbolic link is none), io.
std::string read_project_file(const std::string& file);

/// Replaces `before`, which the file must still hold, by `after`: a new file beside it with the
/// same owner and mode, synced, then renamed over it, so that a reader sees one or the other.
/// Blocks. Throws Error: conflict when somebody has changed the file, denied when its owner cannot
/// be kept, and what read_project_file() throws.
void write_project_file(
    const std::string& file, const std::string& before, const std::string& after
);

/// What an operator who has seen the diff between the two sends back.
std::string edit_hash(const std::string& before, const std::string& after);

}  // namespace volary::session
