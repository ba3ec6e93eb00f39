// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/places.hpp"

#include "base/error.hpp"
#include "cage/layers.hpp"

#include <cerrno>
#include <filesystem>
#include <sys/stat.h>

#include <fmt/format.h>

namespace volary::agent {
namespace {

/// Cages of one agent of one session that have layers at the same time.
constexpr int kMaxAtOnce = 32;

/// With what is above it; all of it is nobody's but ours.
void ensure_folder(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return;
    if (errno != ENOENT) throw_errno("make folder", path);
    ensure_folder(std::filesystem::path(path).parent_path());
    if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) throw_errno("make folder", path);
}

/// Names of agents and projects hold slashes; cage::layer_name() makes a file name of any path.
std::string below(const std::string& top, const PlaceKey& key) {
    const auto agent = cage::layer_name(key.agent);
    if (key.state == CageState::ephemeral)
        return fmt::format("{}/{}/{}", top, key.session.str(), agent);
    return fmt::format("{}/kept/{}/{}", top, cage::layer_name(key.project_root), agent);
}

bool is_free(const std::string& path) {
    try {
        (void)cage::LayersFolder::open(path);
        return true;
    } catch (const Error& error) {
        if (error.code() != Errc::conflict) throw;
        return false;
    }
}

}  // namespace

std::string home_place(const std::string& homes, const PlaceKey& key) {
    std::string path;
    if (key.state == CageState::kept)
        path = below(homes, key);
    else if (key.agent == "primary")
        // The primary's conversation goes on in the next run, so its home is kept with the session.
        path = fmt::format("{}/{}", homes, key.session.str());
    else
        return path;
    ensure_folder(path);
    return path;
}

std::string layers_place(const std::string& layers, const PlaceKey& key) {
    const auto folder = below(layers, key);
    ensure_folder(folder);
    for (int number = 1; number <= kMaxAtOnce; ++number) {
        auto path = fmt::format("{}/{}", folder, number);
        if (is_free(path)) return path;
    }
    throw Error(
        Errc::busy, fmt::format("{} runs {} times with layers of its own", key.agent, kMaxAtOnce)
    );
}

std::vector<std::string> layers_places(const std::string& layers, const PlaceKey& key) {
    std::vector<std::string> out;
    const auto folder = below(layers, key);
    for (int number = 1; number <= kMaxAtOnce; ++number) {
        auto path = fmt::format("{}/{}", folder, number);
        if (std::filesystem::is_directory(path)) out.push_back(std::move(path));
    }
    return out;
}

}  // namespace volary::agent
