// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace volary::store {

/// One page in a write-ahead log.
struct WalFrame {
    std::uint32_t page = 0;     ///< its number in the database
    std::uint64_t at = 0;       ///< of its bytes, in the file of the log
    bool is_committed = false;  ///< SQLite sees it
    bool ends_commit = false;
};

/// What a write-ahead log holds (https://www.sqlite.org/fileformat2.html, "The Write-Ahead Log").
struct WalReading {
    std::vector<WalFrame> frames;  ///< of this log's life, in order; those behind a break included
    std::uint32_t pages = 0;       ///< of the database after the last commit; 0: none
    /// In words, when something that was committed cannot be taken any more: commits behind a frame
    /// that is not what was written, or a head that is not and frames that are not in the database
    /// yet (the head of a log that begins again may have been cut off in the writing). Empty:
    /// SQLite reads all there is. (A log whose end was being written when the power went is one.)
    std::string problem;
};

/// Reads a log of pages of kPageSize. `path` may be missing: then there is nothing. Throws
/// Error{io} when a file that is there cannot be opened or read.
WalReading read_wal(const std::string& path);

}  // namespace volary::store
