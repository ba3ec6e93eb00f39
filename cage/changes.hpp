// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace volary::cage {

/// One thing that a cage changed in a folder that it saw through a `cow` layer. A rename shows as
/// `deleted` and `added`; a new folder as what is in it (itself only while it is empty).
struct Change {
    enum class Kind { added, changed, deleted };
    enum class Type { file, folder, link, other };
    std::string path;  ///< in the cage, e.g. "/workspace/src/main.c"
    Kind kind = Kind::changed;
    Type type = Type::file;
    std::uint64_t bytes = 0;  ///< of the new file
    bool binary = false;
    /// What it is on both sides, in hex: when this has changed, so has the change.
    std::string digest;
    std::string refused;        ///< why keep_changes() would not apply it; empty: it would
    std::string layers_folder;  ///< where it was found
};

/// "added", "changed", "deleted".
std::string_view to_string(Change::Kind kind) noexcept;

/// No list is longer; an agent that installs packages makes tens of thousands of files.
constexpr std::size_t kMaxChanges = 5000;
/// Files beyond this are told to differ, not how.
constexpr std::uint64_t kMaxDiffed = std::uint64_t{512} << 10U;
/// No diff is longer; it is then cut off at a line, and says so.
constexpr std::size_t kMaxDiff = std::size_t{256} << 10U;

/// What differs between the layers in `layers_folder` and the folders that they lie on, in order of
/// their paths. A file that was written without being changed is not in it. Follows no link; may be
/// called while the cage runs (the answer is then of this moment). Empty when there is no such
/// folder.
std::vector<Change> list_changes(const std::string& layers_folder);

/// The change as text: a unified diff, or a line that says why there is none.
std::string diff_of(const Change& change);

/// What keep_changes() and drop_changes() did.
struct Applied {
    std::size_t count = 0;
    std::vector<std::string> refused;  ///< "PATH: why"
};

/// A change as somebody looked at it: `path` and `digest` of Change.
struct Seen {
    std::string path;
    std::string digest;
};

/// Applies changes to the folders of the host and takes them out of the layers in `folders`: those
/// of `seen`, and no other. Each file is replaced by a rename, below its folder and never through a
/// link; protected paths, devices, FIFOs and sockets are refused; of the mode only the permission
/// bits are kept. Throws Error{conflict}, before anything is written, while a cage of them runs or
/// when one of `seen` is not what it was; its details are the paths.
Applied keep_changes(const std::vector<std::string>& folders, const std::vector<Seen>& seen);

/// Forgets changes: the next cage with these layers sees the host's files again. `paths` are paths
/// as in Change, or folders of them; empty: all. Throws Error{conflict} while a cage of them runs.
Applied drop_changes(
    const std::vector<std::string>& folders, const std::vector<std::string>& paths
);

}  // namespace volary::cage
