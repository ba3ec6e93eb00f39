// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/store/migrations.hpp"

#include <cstdint>
#include <span>

namespace volary::store {

/// Compares the tables of `db` with those that `steps` make up to `version`: each of them with just
/// these columns (name, type, NOT NULL, place in the primary key) and at least these indexes.
/// Tables that `steps` do not know are not looked at. Throws Error{unavailable} naming the file,
/// its version and the first difference; writes nothing.
///
/// The version alone does not tell: a program that was never released may have given it to another
/// schema, and each query would then fail by itself.
void check_schema(Database& db, std::span<const Migration> steps, std::int64_t version);

}  // namespace volary::store
