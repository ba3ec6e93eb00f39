// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "daemon/store/database.hpp"

#include <memory>
#include <string>

namespace volary::store {

/// The exclusive hold of a state folder: flock(2) on its file `volary.lock`, which holds the pid.
/// The kernel releases it when the process ends, however it ends.
class StateLock {
public:
    /// Creates `folder` (0700) when it is missing. Throws Error{busy} naming the holder's pid,
    /// Error{unavailable} when the folder cannot be written.
    static StateLock take(const std::string& folder);

private:
    explicit StateLock(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

/// The folder of a path; "." when it has none.
std::string folder_of(const std::string& path);

/// Opens the database for writing, creating it (0600) when it is missing or empty, in WAL mode and
/// with the newest schema. Throws Error{unavailable} with one sentence when the file is not a
/// volary database, is shorter than it says, or has tables that cannot be read. That is all that
/// is checked here: a check of every page takes time in proportion to the file.
std::unique_ptr<Database> open_database(const std::string& path);

/// Opens a volary database for reading, where it is and whatever its version. Throws
/// Error{unavailable} when it is missing, cannot be read, or is no database of ours.
std::unique_ptr<Database> open_to_read(const std::string& path);

}  // namespace volary::store
