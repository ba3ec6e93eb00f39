// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"
#include "base/unique_fd.hpp"
#include "cage/net_plan.hpp"
#include "cage/shim/protocol.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace volary::cage {

constexpr const char* kWorkspace = "/workspace";
constexpr const char* kHome = "/home/agent";
constexpr const char* kInitPath = "/.volary/init";
constexpr const char* kHostname = "cage";

enum class PathKind { absent, file, folder, link, device, other };

/// What the compiler asks about the host, so that it stays pure in tests.
class HostView {
public:
    virtual ~HostView() = default;
    /// Of the path itself: a symbolic link is a `link`.
    virtual PathKind kind(const std::string& path) const = 0;
    /// Where a link points, as written in it.
    virtual std::string link_target(const std::string& path) const = 0;
    /// Names of the folders in a folder, in order; links are none.
    virtual std::vector<std::string> folders(const std::string& /*path*/) const { return {}; }
};

class RealHost final : public HostView {
public:
    PathKind kind(const std::string& path) const override;
    std::string link_target(const std::string& path) const override;
    std::vector<std::string> folders(const std::string& path) const override;
};

/// What the compiler works on: a policy and the daemon's own additions.
struct CageSpec {
    CagePolicy policy;
    std::vector<std::string> argv;
    std::string working_directory;    ///< in the cage; empty: the workspace, or the home
    std::vector<FsRule> extra_binds;  ///< trusted: made by the daemon, not by a project file
    std::vector<std::string> internal_names;
    std::string layers_folder;  ///< of `cow` rules; empty: they start without changes
    /// What /proc/sys/kernel/random/boot_id says instead of the host's own; empty: the host's.
    std::string boot_id;
    std::string kept_home;      ///< folder of the host that is `$HOME`; empty: a private one
    bool signals = false;       ///< descriptor 3 of the runner is a pipe to the daemon
    bool keep_session = false;  ///< a terminal is passed through
    std::string init;           ///< volary-init on the host
    bool bind_by_fd =
        true;  ///< bwrap knows --bind-fd (it then checks that what it bound is what was opened)
    bool memory_by_rlimit = true;  ///< no cgroup holds the memory limit
    bool notify = false;           ///< refused calls of is_notified() are told
};

/// A path of the host that appears in the cage; opened before bwrap starts.
struct Source {
    std::string path;
    std::string root;  ///< stays beneath this when not empty
    std::string rule;  ///< who asked, for errors and `explain`: "fs[2]", "workspace", "system"
    bool operator==(const Source&) const = default;
};

/// One mount of the cage, in order, for `explain`.
struct Mount {
    enum class Kind { bind_ro, bind_rw, overlay, tmpfs, hidden_folder, hidden_file, proc, dev };
    Kind kind = Kind::bind_ro;
    std::string target;
    std::string source;  ///< host path of a bind
    std::string root;
    std::string rule;
    /// Lies below something that agents write: volary-init verifies it (see compiler.cpp).
    bool guarded = false;
};

/// A `cow` rule: its source is the lower folder of an overlay.
struct OverlayPlan {
    std::uint16_t source = 0;  ///< descriptor of the launch, as in its arguments
    std::string target;
    std::string path;  ///< of the source
    std::string root;
    std::string rule;
};

/// A policy as the shim and bwrap take it.
struct CompiledCage {
    std::vector<wire::Argument> options;
    std::vector<wire::Argument> command;
    std::vector<std::string> data;
    std::vector<Source> sources;
    std::vector<Mount> mounts;
    std::vector<OverlayPlan> overlays;
    /// Protected paths of the host that no mount holds, because they are not there (or are links)
    /// and a writable bind shows their place: looked at again when the cage has ended.
    std::vector<std::string> unheld;
    std::vector<std::string> env;  ///< "NAME=value"
    std::string working_directory;
    NetPlan net;
    CageLimits limits;  ///< with the defaults filled in
};

/// Descriptors of a launch: 0, 1, 2 stdio; 3 the signal pipe when `signals`; then the sources.
std::size_t first_source_index(const CageSpec& spec) noexcept;

/// Pure but for what `host` answers. Throws Error{invalid} or Error{not_found} that names the rule
/// and the path: a source that is missing, a target that is relative, reserved, or cannot be made.
CompiledCage compile(const CageSpec& spec, const HostView& host);

/// Opens every source as an O_PATH descriptor, never through a magic link (openat2); where it has a
/// root beneath that, and through no link at all. Throws Error naming the rule and the path.
std::vector<UniqueFd> open_sources(const std::vector<Source>& sources);

/// The words of an argument list with "{fd:N}" style places, one word a line; for golden files and
/// `cage explain`.
std::string to_text(const std::vector<wire::Argument>& arguments);

/// Minimal environment of a cage: PATH, HOME, LANG, USER, then the policy's own.
std::vector<std::string> make_environment(const CagePolicy& policy);

}  // namespace volary::cage
