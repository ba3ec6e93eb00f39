// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::store {

// Reads the pages of an SQLite database without SQLite, for what SQLite itself gives up on. Source:
// https://www.sqlite.org/fileformat2.html. Pure; every byte is foreign: what does not hold together
// is left out, nothing is thrown.

/// Volary's databases have SQLite's default, whatever a damaged header says.
inline constexpr std::size_t kPageSize = 4096;

/// One row as it stands in a page, with the columns that are in the page itself.
struct Cell {
    bool is_table = false;       ///< of a table with rowid; else of an index or a table without
    std::int64_t rowid = 0;      ///< 0 unless is_table
    std::uint64_t size = 0;      ///< of the whole record
    std::string_view local;      ///< its beginning
    std::uint32_t overflow = 0;  ///< page with its rest; 0: there is none
};

/// The rows of a page, `kPageSize` bytes; `number` counts from 1. Empty when it is no page with
/// rows; cells that reach out of the page are left out.
std::vector<Cell> cells_of(std::string_view page, std::uint32_t number);

struct Value {
    enum class Type { null, integer, real, text, blob };
    Type type = Type::null;
    std::int64_t integer = 0;
    std::string_view bytes;  ///< of a text or blob; valid as long as the record
    bool is_whole = true;    ///< false: it reaches beyond the bytes that were given
};

/// The columns of a record of `size` bytes of which `bytes` are the first (or all). Nothing when
/// the lengths that it tells do not add up to `size`. Columns behind the given bytes are not whole.
std::optional<std::vector<Value>> columns_of(std::string_view bytes, std::uint64_t size);

/// Gives a page, or nothing when it cannot be read.
using ReadPage = std::function<std::optional<std::string>(std::uint32_t number)>;

/// The whole record of a cell, its overflow pages followed; nothing when one is missing, or it is
/// longer than a row of ours can be.
std::optional<std::string> record_of(const Cell& cell, const ReadPage& read);

}  // namespace volary::store
