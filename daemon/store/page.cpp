// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/page.hpp"

#include <algorithm>

namespace volary::store {
namespace {

constexpr std::size_t kFileHeader = 100;  // before the head of page 1
constexpr unsigned char kIndexInterior = 2;
constexpr unsigned char kTableInterior = 5;
constexpr unsigned char kIndexLeaf = 10;
constexpr unsigned char kTableLeaf = 13;
// The longest row of ours is an event that was imported, a line of 8 MiB.
constexpr std::size_t kMaxRecord = std::size_t{64} << 20U;
constexpr std::size_t kMaxColumns = 64;  // our widest table has ten

std::uint64_t big_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
    return value;
}

/// Takes a number of 1 to 9 bytes from the front of `rest`; nothing when it is cut short.
std::optional<std::uint64_t> take_varint(std::string_view& rest) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 9 && i < rest.size(); ++i) {
        const auto byte = static_cast<unsigned char>(rest[i]);
        if (i == 8) {
            value = value << 8U | byte;
        } else {
            value = value << 7U | (byte & 0x7fU);
            if ((byte & 0x80U) != 0) continue;
        }
        rest.remove_prefix(i + 1);
        return value;
    }
    return std::nullopt;
}

struct Head {
    unsigned char type = 0;
    std::size_t cells = 0;
    std::size_t pointers_at = 0;
};

/// Nothing when it is no head of a page with cells.
std::optional<Head> head_of(std::string_view page, std::uint32_t number) {
    if (page.size() != kPageSize) return std::nullopt;
    const std::size_t at = number == 1 ? kFileHeader : 0;
    Head head;
    head.type = static_cast<unsigned char>(page[at]);
    const bool interior = head.type == kIndexInterior || head.type == kTableInterior;
    if (!interior && head.type != kIndexLeaf && head.type != kTableLeaf) return std::nullopt;
    head.cells = big_endian(page.substr(at + 3, 2));
    head.pointers_at = at + (interior ? 12 : 8);
    if (head.pointers_at + 2 * head.cells > kPageSize) return std::nullopt;
    return head;
}

/// How much of a record stands in the page itself ("Cell payload overflow").
std::size_t local_size(std::uint64_t size, bool is_table) {
    constexpr std::uint64_t usable = kPageSize;
    constexpr std::uint64_t least = (usable - 12) * 32 / 255 - 23;
    const std::uint64_t most = is_table ? usable - 35 : (usable - 12) * 64 / 255 - 23;
    if (size <= most) return size;
    const std::uint64_t fitting = least + (size - least) % (usable - 4);
    return fitting <= most ? fitting : least;
}

std::optional<Cell> cell_at(std::string_view page, std::size_t at, unsigned char type) {
    auto rest = page.substr(std::min(at, page.size()));
    if (type == kIndexInterior) rest.remove_prefix(std::min<std::size_t>(4, rest.size()));
    Cell cell;
    cell.is_table = type == kTableLeaf;
    const auto size = take_varint(rest);
    if (!size || *size > kMaxRecord) return std::nullopt;
    cell.size = *size;
    if (cell.is_table) {
        const auto rowid = take_varint(rest);
        if (!rowid) return std::nullopt;
        cell.rowid = static_cast<std::int64_t>(*rowid);
    }
    const auto local = local_size(cell.size, cell.is_table);
    const bool overflows = local < cell.size;
    if (rest.size() < local + (overflows ? 4 : 0)) return std::nullopt;
    cell.local = rest.substr(0, local);
    if (overflows) cell.overflow = static_cast<std::uint32_t>(big_endian(rest.substr(local, 4)));
    return cell;
}

/// Bytes of a value of that serial type; nothing for the two that are reserved.
std::optional<std::uint64_t> size_of_type(std::uint64_t type) {
    constexpr std::uint64_t sizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
    if (type < 10) return sizes[type];
    if (type < 12) return std::nullopt;
    return (type - 12) / 2;
}

Value value_of(std::uint64_t type, std::string_view bytes) {
    Value value;
    if (type == 0) return value;
    if (type == 7) {
        value.type = Value::Type::real;
    } else if (type < 10) {
        value.type = Value::Type::integer;
        const auto raw = type >= 8 ? type - 8 : big_endian(bytes);
        const auto shift = type >= 8 ? 0U : 64U - 8U * static_cast<unsigned>(bytes.size());
        // Shifted up and down again: the sign bit is the first one of its own width.
        value.integer = shift == 0 || shift == 64
                            ? static_cast<std::int64_t>(raw)
                            : static_cast<std::int64_t>(raw << shift) >> shift;
    } else {
        value.type = type % 2 == 0 ? Value::Type::blob : Value::Type::text;
        value.bytes = bytes;
    }
    return value;
}

/// The serial types at the front of a record, and where its values begin.
std::optional<std::vector<std::uint64_t>> types_of(std::string_view bytes, std::size_t& body) {
    auto rest = bytes;
    const auto head = take_varint(rest);
    if (!head || *head > bytes.size() || *head < bytes.size() - rest.size()) return std::nullopt;
    body = *head;
    rest = bytes.substr(bytes.size() - rest.size(), body - (bytes.size() - rest.size()));
    std::vector<std::uint64_t> types;
    while (!rest.empty()) {
        const auto type = take_varint(rest);
        if (!type || types.size() == kMaxColumns) return std::nullopt;
        types.push_back(*type);
    }
    return types;
}

}  // namespace

std::vector<Cell> cells_of(std::string_view page, std::uint32_t number) {
    std::vector<Cell> cells;
    const auto head = head_of(page, number);
    if (!head || head->type == kTableInterior) return cells;
    for (std::size_t i = 0; i < head->cells; ++i) {
        const auto at = big_endian(page.substr(head->pointers_at + 2 * i, 2));
        if (auto cell = cell_at(page, at, head->type)) cells.push_back(*cell);
    }
    return cells;
}

std::optional<std::vector<Value>> columns_of(std::string_view bytes, std::uint64_t size) {
    std::size_t at = 0;
    const auto types = types_of(bytes, at);
    if (!types) return std::nullopt;
    std::vector<Value> values;
    std::uint64_t end = at;
    for (const auto type : *types) {
        const auto width = size_of_type(type);
        if (!width || *width > size || end + *width > size) return std::nullopt;
        const bool whole = end + *width <= bytes.size();
        const auto from = std::min<std::uint64_t>(end, bytes.size());
        auto value = whole ? value_of(type, bytes.substr(from, *width)) : Value();
        if (!whole && type >= 12) value = value_of(type, bytes.substr(from));
        value.is_whole = whole;
        values.push_back(value);
        end += *width;
    }
    if (end != size) return std::nullopt;
    return values;
}

std::optional<std::string> record_of(const Cell& cell, const ReadPage& read) {
    std::string record(cell.local);
    auto next = cell.overflow;
    // Each page brings more than nothing, so a chain that runs in a circle ends, too.
    while (record.size() < cell.size) {
        if (next == 0) return std::nullopt;
        const auto page = read(next);
        if (!page || page->size() != kPageSize) return std::nullopt;
        next = static_cast<std::uint32_t>(big_endian(std::string_view(*page).substr(0, 4)));
        record.append(*page, 4, std::min<std::uint64_t>(kPageSize - 4, cell.size - record.size()));
    }
    return record;
}

}  // namespace volary::store
