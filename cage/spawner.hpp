// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/child.hpp"
#include "base/ids.hpp"
#include "base/policy.hpp"
#include "base/task_scope.hpp"
#include "cage/denial.hpp"
#include "cage/host_facts.hpp"
#include "cage/limits.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace volary::cage {

class Gatekeeper;
class Cage;
struct NetPlan;
struct Prepared;

/// Descriptors that the runner gets as they are (`volary cage run`); borrowed until spawn() ends.
struct StdioFds {
    int in = 0, out = 1, err = 2;
    /// `in` is a terminal: the runner stays in its session, so that Ctrl-C and job control work.
    bool terminal = false;
};

/// A cage that goes on when this daemon dies, until another one adopts it.
struct KeepCage {
    std::string folder;  ///< of the host (0700, ours): its socket is made there
    std::string owner;   ///< any text: what the next daemon must know of whose it is
    /// Output is rather dropped than waited for when no daemon is there and the spool is full.
    bool lossy_output = false;
    ByteCount spool{std::uint64_t{16} << 20U};  ///< most bytes kept of each stream
    std::chrono::seconds orphan_ttl{3600};      ///< how long it goes on alone
};

struct SpawnRequest {
    CageId id;
    CagePolicy policy;
    std::vector<std::string> argv;
    std::string working_directory;    ///< in the cage; empty: /workspace, or the home
    std::vector<FsRule> extra_binds;  ///< trusted, by the daemon
    std::vector<std::string> internal_names;
    /// Folder of the host (0700, ours) that keeps the layers of `cow` rules, made when missing.
    /// Empty: a temporary one that is dropped with the cage.
    std::string layers_folder;
    /// Folder of the host that becomes `$HOME`; empty: a private one, gone at the end.
    std::string kept_home;
    bool signal_pipe = false;  ///< descriptor 3 of the runner is Cage::take_signals()
    std::optional<StdioFds> inherit;
    std::optional<KeepCage> keep;  ///< not with `inherit`, nor for a disabled policy
};

/// What holds a cage, in words for the cage card.
struct CageReport {
    std::vector<std::string> layers;  ///< "none" alone when the policy is `disabled`
    std::string limits_backend;       ///< "cgroup v2", "cgroup v1", "rlimits + supervision", "none"
    pid_t shim_pid = -1;
    pid_t runner_pid = -1;  ///< host pid
    std::chrono::microseconds net_setup{0};
};

/// How a cage ended. `reason`: "exited" by itself, "stopped", or "wall", "oom", "pids", "disk" by a
/// limit.
struct CageExit {
    ExitStatus status;
    std::string reason;
    std::chrono::microseconds cpu_time{0};
    std::uint64_t max_rss_kb = 0;  ///< of its largest process
    /// Protected paths (of the host) that were not there at the start, which no mount can hold, and
    /// that are there now. Also told as denials.
    std::vector<std::string> planted;
};

/// bwrap from PATH, shim and init beside this program.
SpawnerPaths find_programs();

struct SpawnerHooks {
    /// A limit acted: "wall", "memory", "pids"; `detail` in words.
    std::function<void(CageId, std::string limit, std::string detail)> on_limit = {};
    /// System calls were refused (layer "syscall"; already counted and rate-limited), or protected
    /// paths were made (layer "planted"; once, when the cage has ended).
    std::function<void(CageId, Denial)> denied = {};
};

/// Starts cages. Lives on the control thread; `co_await close()` before destruction.
class Spawner {
public:
    /// A shim of an earlier daemon that has answered.
    struct Found;
    using FoundPtr = std::shared_ptr<Found>;

    Spawner(
        asio::any_io_executor executor, SpawnerPaths paths, Gatekeeper& gatekeeper,
        SpawnerHooks hooks
    );
    ~Spawner();
    Spawner(const Spawner&) = delete;
    Spawner& operator=(const Spawner&) = delete;

    /// Returns when the runner has been executed. Throws Error: invalid or not_found for the policy
    /// (naming the rule), denied for uid 0 or an escape, unavailable for a missing program or a
    /// host without user namespaces, io for a step that failed (naming it).
    asio::awaitable<std::shared_ptr<Cage>> spawn(SpawnRequest request);

    /// Connects to every shim in `folder`. Sockets without one are removed; what is no shim of ours
    /// (a stranger, another version) is left alone and told in the log.
    asio::awaitable<std::vector<FoundPtr>> find_kept(std::string folder);
    /// Takes such a cage over: with its network, its limits and its streams. Throws Error when
    /// something of it cannot be taken over; it is then killed.
    std::shared_ptr<Cage> adopt(FoundPtr found);
    /// Ends one that nobody wants.
    void dismiss(FoundPtr found);

    /// Throws Error{unavailable} naming the program that is missing.
    const HostFacts& host();
    const SpawnerPaths& paths() const noexcept { return paths_; }

    /// Lets go of every cage that is kept: they go on, and the next daemon finds them.
    void leave_kept();

    /// Ends every cage at once and returns when none is left. Those whose end nobody has released
    /// keep their shim, so that the next daemon hears of it.
    asio::awaitable<void> close();

private:
    asio::awaitable<std::shared_ptr<Cage>> spawn_caged(SpawnRequest request);
    /// Throws Error{unavailable} naming what the back end needs and is not there.
    void require_programs(CageBackend backend);
    std::shared_ptr<Cage> spawn_bare(const SpawnRequest& request);
    void prepare(const SpawnRequest& request, Cage& cage, Prepared& prepared);
    static void add_pipes(const SpawnRequest& request, Cage& cage, Prepared& prepared);
    static void add_layers(const SpawnRequest& request, Cage& cage, Prepared& prepared);
    void serve(const std::shared_ptr<Cage>& cage);

    void add_keep(const SpawnRequest& request, Cage& cage, Prepared& prepared);
    void start_shim(const SpawnRequest& request, Cage& cage, const Prepared& prepared);
    void attach_when_bound(
        const std::shared_ptr<Cage>& cage, std::vector<NetRule> rules, NetPlan plan
    );
    void watch(const std::shared_ptr<Cage>& cage);
    void remember(const std::shared_ptr<Cage>& cage);

    asio::any_io_executor executor_;
    SpawnerPaths paths_;
    Gatekeeper& gatekeeper_;
    SpawnerHooks hooks_;
    CgroupPlace cgroups_;
    std::optional<HostFacts> host_;
    std::optional<std::string> podman_problem_;  ///< none: not asked yet; empty: it can be used
    std::vector<std::weak_ptr<Cage>> cages_;
    TaskScope tasks_;
};

}  // namespace volary::cage
