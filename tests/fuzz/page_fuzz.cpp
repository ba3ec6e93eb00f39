// SPDX-License-Identifier: Apache-2.0
// The pages of a damaged database: rows that reach out of the page, lengths that do not add up,
// long rows that run in circles.
#include "daemon/store/page.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

using namespace volary::store;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string page(reinterpret_cast<const char*>(data), size);
    page.resize(kPageSize);
    // Page 1 begins behind the head of the file; each page of a long row leads to the same bytes.
    for (const std::uint32_t number : {1U, 2U}) {
        const auto read = [&](std::uint32_t) { return std::optional(page); };
        for (const auto& cell : cells_of(page, number)) {
            const auto part = columns_of(cell.local, cell.size);
            if (!part) continue;
            if (cell.size > (std::size_t{1} << 20U)) continue;
            const auto whole = record_of(cell, read);
            if (whole && whole->size() != cell.size) std::abort();
            const auto columns = whole ? columns_of(*whole, cell.size) : std::nullopt;
            if (!columns) continue;
            for (const auto& column : *columns)
                if (!column.is_whole) std::abort();
        }
    }
    return 0;
}
