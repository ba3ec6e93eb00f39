// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"

#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace volary::dsl {

struct FileProblem {
    std::string message;
    std::string hint;
};

/// A place in the project, checked to be beneath its root.
struct Place {
    std::string relative;  ///< from the root, without "." and doubled slashes; "" is the root
    std::string source;    ///< absolute: root + relative
    std::string resolved;  ///< where symlinks lead, relative to the root
    bool folder = false;   ///< else a regular file
};

/// Owns a descriptor of the project's root; everything is opened relative to it with
/// openat2(RESOLVE_BENEATH), so that no symlink and no ".." leads out. Blocking calls only.
class ProjectFolder {
public:
    /// Error for a root that is no folder. `config` is ".volary" or ".kaged".
    static std::expected<ProjectFolder, FileProblem> open(
        const std::filesystem::path& root, std::string config
    );

    const std::string& root() const noexcept { return root_; }
    const std::string& config() const noexcept { return config_; }

    enum class Want { anything, file };

    /// Resolves "project:/a/b" or "config:/a.md" (its `.local` twin first) to what is there.
    std::expected<Place, FileProblem> resolve(std::string_view uri, Want want) const;

    bool exists(const std::string& relative) const;

    /// Reads a regular file beneath the root of at most `max` bytes. Nothing when there is none.
    std::expected<std::optional<std::string>, FileProblem> read(
        const std::string& relative, std::size_t max
    ) const;

private:
    ProjectFolder(UniqueFd fd, std::string root, std::string config);
    UniqueFd open_beneath(const std::string& relative, int flags) const;
    std::string twin(const std::string& relative) const;

    UniqueFd fd_;
    std::string root_;
    std::string config_;
};

/// Reads a regular file of at most `max` bytes; the size is checked before the first byte is read.
std::expected<std::string, FileProblem> read_regular(int fd, std::size_t max);

}  // namespace volary::dsl
