// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/bytes.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace volary {

/// How a path appears in a cage.
enum class FsMode {
    ro,   ///< bound read-only
    rw,   ///< bound writable
    cow,  ///< bound below a layer that takes the changes: to be looked at, kept or dropped
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
    /// Where it was written ("project.yaml:12"), for errors; empty for rules made by code.
    std::string origin = {};
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
    /// Name of an operator's credential: the cage speaks plain HTTP to the name, the gatekeeper
    /// adds the header and speaks verified TLS outward. Only with Kind::name and Kind::wildcard.
    std::string credential = {};
    /// HTTP methods that are let through, upper case; empty: all. Plain HTTP and `credential` only.
    std::vector<std::string> methods = {};
    /// Paths that are let through, each exact or ending in "*" (a prefix); empty: all. As
    /// `methods`.
    std::vector<std::string> paths = {};
    /// Where it was written ("project.yaml:12"), for errors; empty for rules made by code.
    std::string origin = {};
    bool operator==(const NetRule&) const = default;
};

/// One entry of `cage.net.ports`: a TCP port of the cage's loopback, published through the daemon.
struct PublishedPort {
    std::string name;  ///< of the URL; unique in the policy
    std::uint16_t port = 0;
    /// Reachable for everybody who may see the session, else for its owner and editors alone.
    bool is_public = false;
    bool operator==(const PublishedPort&) const = default;
};

/// `cage.limits`; what is absent is unlimited, except the defaults of default_limits().
struct CageLimits {
    std::optional<ByteCount> memory;
    std::optional<ByteCount> swap;  ///< beside `memory`; absent: none, where the host can say so
    std::optional<double> cpu;      ///< CPUs, e.g. 0.5
    std::optional<std::uint32_t> pids;
    std::optional<std::chrono::milliseconds> wall;
    /// Of what the cage writes that is its own: `/tmp`, `$HOME`, other `tmp` folders, `cow` layers.
    std::optional<ByteCount> disk;
    std::optional<std::uint32_t> files;  ///< open descriptors per process
    std::optional<ByteCount> output;     ///< of stdout and stderr together, a second; more waits
    bool operator==(const CageLimits&) const = default;
};

enum class SeccompProfile { standard, relaxed };

/// What becomes of `$HOME` and of `cow` layers when the cage ends.
enum class CageState {
    ephemeral,  ///< gone (cow: as long as the session lives, so that changes can be looked at)
    kept        ///< there again for the next cage of the same agent of the same project
};

/// What builds the cage.
enum class CageBackend { bwrap, native, podman, firejail };

/// Places in project files by key of a policy: "require[1]" -> "project.yaml:12".
using Origins = std::map<std::string, std::string>;

/// What one cage may touch. Made by `dsl` from a project file, by a caller from code; enforced by
/// `cage`. Everything that is not listed is refused.
struct CagePolicy {
    std::vector<FsRule> fs;
    std::vector<NetRule> net;
    CageLimits limits;
    /// TCP ports of the cage that the daemon publishes.
    std::vector<PublishedPort> ports;
    SeccompProfile seccomp = SeccompProfile::standard;
    std::vector<std::string> seccomp_add;     ///< system calls allowed beyond the profile, by name
    std::vector<std::string> seccomp_remove;  ///< system calls refused beyond the profile, by name
    CageState state = CageState::ephemeral;
    CageBackend backend = CageBackend::bwrap;
    /// Layers without which the cage is refused; words of layer_names().
    std::vector<std::string> require;
    std::vector<std::string> devices;  ///< device nodes of the host, absolute paths in /dev
    /// May exceed what the parent's cage may (its project file says so).
    bool detached = false;
    std::map<std::string, std::string> env;
    /// Writable project root bound at /workspace; empty: no workspace.
    std::string workspace;
    bool workspace_writable = true;
    /// `cage: disabled` in the project file: the command runs bare and every screen says so.
    bool disabled = false;
    /// Where keys of the policy were written, for errors: "seccomp.add[0]", "limits.memory",
    /// "require[1]", "devices[0]", "backend" ... -> "project.yaml:12".
    Origins origins;
    bool operator==(const CagePolicy&) const = default;
};

/// Where `key` was written; empty when that is not known.
std::string origin_of(const Origins& origins, const std::string& key);
/// `key` as errors name it: "devices[0] (project.yaml:12)", or the key alone.
std::string named_key(const Origins& origins, const std::string& key);

/// Limits that hold where the project file says nothing: 2 GiB memory, 512 processes, 4096
/// descriptors, 1 GiB of private writable layer, no wall clock.
CageLimits default_limits();

/// What `require` may name: "landlock", "seccomp", "notify", "network", "cgroup", "memory", "swap",
/// "cpu", "pids", "disk".
std::span<const std::string_view> layer_names() noexcept;

/// "ro", "rw", "cow", "tmp", "hide".
std::string_view to_string(FsMode mode) noexcept;
/// "ephemeral", "kept".
std::string_view to_string(CageState state) noexcept;
/// "bwrap", "native", "podman", "firejail".
std::string_view to_string(CageBackend backend) noexcept;

/// True when `name` (lower case, no trailing dot) is what `rule` allows, port aside.
bool matches_name(const NetRule& rule, std::string_view name);

/// True when every host and port that `rule` names is also named by `bound`; what else the rules
/// say (private, credential, methods ...) is not looked at. Address blocks lie within each other.
bool covers_target(const NetRule& bound, const NetRule& rule);

/// True when `rule` lets nothing through that `bound` would not: its target, private answers, the
/// same server name and credential, no other methods and paths.
bool covers(const NetRule& bound, const NetRule& rule);

}  // namespace volary
