// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/bytes.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace volary {

/// How a path appears in a cage.
enum class FsMode {
    ro,   ///< bound read-only
    rw,   ///< bound writable
    tmp,  ///< an empty private tmpfs
    hide  ///< an empty read-only folder or file in its place
};

/// One entry of `cage.fs`: plain data between the project file and the compiler of the cage.
struct FsRule {
    /// Absolute path on the host, already resolved from its URI beneath `root`.
    std::string source;
    /// The folder that `source` must stay beneath when it is opened (openat2 RESOLVE_BENEATH);
    /// empty for operator policies, whose paths are absolute and trusted.
    std::string root;
    FsMode mode = FsMode::ro;
    /// Absolute path inside the cage.
    std::string target;
    bool operator==(const FsRule&) const = default;
};

/// One entry of `cage.net.allow`: a name (or address block) and a port.
struct NetRule {
    enum class Kind {
        name,      ///< exact DNS name
        wildcard,  ///< `*.domain`: any name below `host`, not `host` itself
        address,   ///< one IP address
        cidr,      ///< an address block
        host       ///< `host.volary`: a service on the host's own loopback
    };
    Kind kind = Kind::name;
    /// Lower-case name without a trailing dot, address, or block ("10.0.0.0/8"); for a wildcard
    /// the part after "*.".
    std::string host;
    std::uint16_t port = 443;
    /// Private, loopback and link-local answers are refused unless this is set.
    bool allow_private = false;
    /// Expected TLS server name when it differs from `host`; empty: the name itself.
    std::string sni;
    /// As the project file spells it, for denials and the cage card, e.g. "*.bandcamp.com:443".
    std::string text;
    bool operator==(const NetRule&) const = default;
};

/// `cage.limits`; what is absent is unlimited, except the defaults of default_limits().
struct CageLimits {
    std::optional<ByteCount> memory;
    std::optional<double> cpu;  ///< CPUs, e.g. 0.5
    std::optional<std::uint32_t> pids;
    std::optional<std::chrono::milliseconds> wall;
    std::optional<ByteCount> disk;       ///< of the private writable layer (`/tmp`, `$HOME`)
    std::optional<std::uint32_t> files;  ///< open descriptors per process
    bool operator==(const CageLimits&) const = default;
};

enum class SeccompProfile { standard, relaxed };

/// What one cage may touch. Made by `dsl` from a project file, by a caller from code; enforced by
/// `cage`. Everything that is not listed is refused.
struct CagePolicy {
    std::vector<FsRule> fs;
    std::vector<NetRule> net;
    CageLimits limits;
    SeccompProfile seccomp = SeccompProfile::standard;
    std::map<std::string, std::string> env;
    /// Writable project root bound at /workspace; empty: no workspace.
    std::string workspace;
    bool workspace_writable = true;
    /// `cage: disabled` in the project file: the command runs bare and every screen says so.
    bool disabled = false;
    bool operator==(const CagePolicy&) const = default;
};

/// Limits that hold where the project file says nothing: 2 GiB memory, 512 processes, 4096
/// descriptors, 1 GiB of private writable layer, no wall clock.
CageLimits default_limits();

/// "ro", "rw", "tmp", "hide".
std::string_view to_string(FsMode mode) noexcept;

/// True when `name` (lower case, no trailing dot) is what `rule` allows, port aside.
bool matches_name(const NetRule& rule, std::string_view name);

}  // namespace volary
