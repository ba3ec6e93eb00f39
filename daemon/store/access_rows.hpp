// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/store/database.hpp"
#include "daemon/store/rows.hpp"

#include <optional>
#include <string>
#include <vector>

namespace volary::store {

// Projects, launch codes and devices. Called on a worker's thread, the writing ones inside a
// transaction.

void put_project(Database& db, const ProjectRow& row);
std::vector<ProjectRow> list_projects(Database& db);
std::optional<ProjectRow> find_project(Database& db, const std::string& name);
bool remove_project(Database& db, const std::string& name);

void insert_launch_code(Database& db, const LaunchCodeRow& row);
bool consume_launch_code(Database& db, const std::string& hash, UnixMillis now);

void insert_device(Database& db, const DeviceRow& row);
std::optional<DeviceRow> find_device(Database& db, const std::string& token_hash);
std::vector<DeviceRow> list_devices(Database& db);
void touch_device(Database& db, const DeviceId& device, UnixMillis last_seen);
bool revoke_device(Database& db, const DeviceId& device, UnixMillis now);

/// Rows that have had their time; see Store::prune().
std::int64_t prune_rows(Database& db, UnixMillis now);

}  // namespace volary::store
