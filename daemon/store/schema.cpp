// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/schema.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

namespace volary::store {
namespace {

/// Words for the columns and indexes of each table, by the table's name.
using Shape = std::map<std::string, std::set<std::string>>;

constexpr std::string_view kColumn = "column";

// https://www.sqlite.org/pragma.html#pragma_table_info
constexpr std::string_view kShape = R"sql(
SELECT t.name, 'column "' || c.name || '" ' || c.type ||
    iif(c."notnull", ' NOT NULL', '') || iif(c.pk, ' PRIMARY KEY ' || c.pk, '')
FROM sqlite_schema t JOIN pragma_table_info(t.name) c
WHERE t.type = 'table'
UNION ALL
SELECT tbl_name, 'index "' || name || '"' FROM sqlite_schema WHERE type = 'index'
)sql";

Shape shape_of(Database& db) {
    Shape out;
    auto parts = db.prepare(kShape);
    while (parts.step()) out[parts.text(0)].insert(parts.text(1));
    return out;
}

/// The first difference in words; empty when there is none.
std::string difference(const Shape& found, const Shape& wanted) {
    for (const auto& [table, parts] : wanted) {
        const auto there = found.find(table);
        if (there == found.end()) return fmt::format("it has no table \"{}\"", table);
        for (const auto& part : parts)
            if (!there->second.contains(part))
                return fmt::format("its table \"{}\" has no {}", table, part);
        // An index more is slower at worst; a column more may refuse every row that we write.
        for (const auto& part : there->second)
            if (part.starts_with(kColumn) && !parts.contains(part))
                return fmt::format("its table \"{}\" has a {} of its own", table, part);
    }
    return {};
}

}  // namespace

void check_schema(Database& db, std::span<const Migration> steps, std::int64_t version) {
    Database model(":memory:", OpenMode::read_write);
    for (const auto& step : steps)
        if (step.version <= version) model.exec(step.sql);
    const auto problem = difference(shape_of(db), shape_of(model));
    if (problem.empty()) return;
    throw Error(
        Errc::unavailable,
        fmt::format(
            "database \"{}\" says that it is of version {}, but {}: a volary that was never "
            "released has made it; start that one, put back a backup, or move the file away to "
            "start empty",
            db.path(), version, problem
        )
    );
}

}  // namespace volary::store
