// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace volary::app {

/// The account of the daemon when root started it.
constexpr const char* kSystemUser = "volary";

/// A folder that the system user is to own.
struct OwnFolder {
    std::string path;
    unsigned mode = 0750;
};

/// True when this process is uid 0, really or effectively.
bool is_root() noexcept;

/// Turns a process that root started into one of the system user, for good: makes what only root
/// can make (cgroup folders, which it enters, and `folders`), then drops every uid, gid, group and
/// capability, and checks that there is no way back. The environment becomes the user's own, the
/// working folder "/". For a process without threads. Throws Error{denied} when there is no such
/// user (with the command that makes it), when a folder belongs to somebody else, or when a step
/// of the drop fails: the caller must then end.
void become_system_user(const std::vector<OwnFolder>& folders);

/// The folder of a "unix:PATH" listener, and the parents that hold it; pure.
std::vector<OwnFolder> folders_for(
    const std::string& state, const std::vector<std::string>& listen
);

}  // namespace volary::app
