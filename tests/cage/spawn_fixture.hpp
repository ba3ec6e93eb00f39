// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/cage.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/spawner.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace volary::cage::test {

/// What a caged command left behind.
struct Outcome {
    CageExit exit;
    std::string out, err;
    CageReport report;
};

/// The programs to test: VOLARY_BIN, or ../../bin beside the test program.
SpawnerPaths programs();

/// VOLARY_CAGE_BACKEND, or bwrap: the same tests hold for every back end.
CageBackend backend();

/// A spawner with its loop and gatekeeper, and a folder that serves as workspace.
class Aviary {
public:
    Aviary();
    ~Aviary();
    Aviary(const Aviary&) = delete;
    Aviary& operator=(const Aviary&) = delete;

    SpawnRequest request(std::vector<std::string> argv) const;
    /// Runs `/bin/sh -c script` with the workspace until it ends.
    Outcome shell(const std::string& script);
    Outcome run(SpawnRequest request);
    /// The message of the Error that spawning ends with; "" when it works.
    std::string refusal(SpawnRequest request);

    /// Runs `task` on the loop to its end, at most a minute; rethrows its error.
    void await(asio::awaitable<void> task);

    asio::io_context io;
    std::filesystem::path folder;
    Gatekeeper gatekeeper;
    std::vector<std::string> limits_told;
    std::vector<Denial> denials;  ///< of the spawner, not of the gatekeeper
    Spawner spawner;
};

/// Writes a file of the host, with the folders above it.
void write_file(const std::filesystem::path& path, const std::string& text);
std::string read_file(const std::filesystem::path& path);

/// Everything until the end of the stream; closes it.
asio::awaitable<std::string> read_all(UniqueFd stream);

}  // namespace volary::cage::test
