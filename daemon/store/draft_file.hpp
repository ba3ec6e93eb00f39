// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"

#include <string>

namespace volary::store {

/// strftime(3) of the times in names of files: "20261121T234500Z".
inline constexpr const char* kStampFormat = "%Y%m%dT%H%M%SZ";
std::string stamp_of(UnixMillis now);

/// A database file (0600) under way: it goes, with what SQLite keeps beside it, unless published.
class DraftFile {
public:
    /// Throws Error{io}.
    explicit DraftFile(std::string path);
    DraftFile(const DraftFile&) = delete;
    DraftFile& operator=(const DraftFile&) = delete;
    ~DraftFile();

    const std::string& path() const noexcept { return path_; }

    /// Syncs it and gives it its name. No connection may be open on it.
    void publish(const std::string& path) const;

private:
    std::string path_;
};

/// A copy has the mark of WAL in its header; alone, and only read, it needs none.
void leave_wal(const std::string& path);

/// Moves a database, damaged or not, aside with what belongs to it: "PATH.replaced-TIME". Gives
/// that path; empty when there is none.
std::string move_aside(const std::string& database, UnixMillis now);

/// `path`, or with a number at its end when that is taken.
std::string unused_path(std::string path);

}  // namespace volary::store
