// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/layers.hpp"
#include "cage/outgoing.hpp"
#include "cage/record.hpp"
#include "cage/shim/channel.hpp"
#include "cage/spawner.hpp"
#include "cage/streams.hpp"
#include "cage/use.hpp"

#include <deque>
#include <list>
#include <map>
#include <set>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace volary::cage {

struct SocketSpec;
class OutputPace;

/// Something that happens once and that several coroutines of one thread wait for.
class Completion {
public:
    explicit Completion(asio::any_io_executor executor) : executor_(std::move(executor)) {}

    void complete() {
        done_ = true;
        for (auto* timer : waiting_) timer->cancel();
    }
    bool done() const noexcept { return done_; }
    /// True when it happened within `limit`; throws operation_aborted when the waiter is cancelled.
    asio::awaitable<bool> wait_for(std::chrono::milliseconds limit);

private:
    asio::any_io_executor executor_;
    std::list<asio::steady_timer*> waiting_;
    bool done_ = false;
};

/// One running cage: a shim, and behind it bwrap, init and the runner (or, for a disabled policy,
/// the bare command). Made by Spawner; lives on its thread. The spawner's tasks hold it until the
/// last process is gone, so dropping the pointer neither ends nor leaks it.
class Cage : public std::enable_shared_from_this<Cage> {
public:
    const CageId& id() const noexcept { return id_; }
    const CageReport& report() const noexcept { return report_; }

    /// Our ends of the runner's pipes, non-blocking; empty when taken or inherited.
    UniqueFd take_stdin() { return std::move(stdin_); }
    UniqueFd take_stdout() { return std::move(stdout_); }
    UniqueFd take_stderr() { return std::move(stderr_); }
    UniqueFd take_signals() { return std::move(signals_); }

    /// The runner's streams, whoever keeps them; instead of the pipes above, not beside them.
    RunnerStreams& streams();
    /// With streams that a shim keeps: where reading begins in a cage that was adopted.
    void start_at(Stream stream, std::uint64_t offset);
    std::uint64_t begins_at(Stream stream) const;
    /// Messages to the runner that were taken so far, by their tags; of an adopted cage.
    const std::vector<std::string>& taken_tags() const noexcept { return taken_tags_; }
    /// How long it had no daemon; nothing for a cage that this daemon started.
    std::optional<std::chrono::milliseconds> alone() const noexcept { return alone_; }
    /// True when its last process was gone before this daemon came.
    bool ended_alone() const noexcept { return ended_alone_; }
    /// Lets go of a cage whose shim outlives us; it goes on alone.
    void leave();
    /// Everything that it said and how it ended is durable: the shim may go.
    void release();

    /// Waits until no process of the cage is left. Several may wait.
    asio::awaitable<CageExit> wait();

    /// SIGTERM to the runner, `grace`, then SIGKILL to the first process of the pid namespace,
    /// with which the kernel ends all others. Returns when none is left.
    asio::awaitable<void> stop(std::chrono::milliseconds grace);

    /// To the runner alone; false when it is gone.
    bool signal(int number);

    /// Stops every process of the cage (cgroup.freeze, else SIGSTOP) and returns when none runs;
    /// thaw() lets them go on. Throws Error{timeout} when processes appear faster than they stop.
    asio::awaitable<void> freeze();
    asio::awaitable<void> thaw();
    bool frozen() const noexcept { return frozen_; }

    /// Host pids of the processes in the cage that are not zombies.
    std::vector<pid_t> processes() const;
    /// System calls that were refused and told so far.
    std::uint64_t refused_calls() const noexcept { return refused_calls_; }
    bool running() const noexcept { return !ended_.done(); }

    /// What it takes now; its last figures when it has ended.
    CageUse use() const;

    /// Binds one more socket in the cage's network namespace, the fake address of `name` if there
    /// is one; throws Error naming it.
    asio::awaitable<UniqueFd> bind(SocketSpec spec, std::string name = {});

    /// A connected, non-blocking stream to `port` of the cage's own loopback: 127.0.0.1, else ::1.
    /// Throws Error: denied when the policy does not publish the port; unavailable when nothing
    /// listens there or the cage has ended; timeout when the server does not accept in 5 s.
    asio::awaitable<UniqueFd> connect(std::uint16_t port);
    /// True when a program of the cage listens on `port`, of a loopback or of every address.
    bool listens(std::uint16_t port) const;
    /// What the policy publishes.
    const std::vector<PublishedPort>& ports() const noexcept { return ports_; }

    /// Binds one more `ro` or `rw` path of the host while the cage runs. Throws Error{unavailable}
    /// with the words "at the next start" where that cannot be, and what spawn() throws for a rule.
    asio::awaitable<void> add_bind(FsRule rule);

private:
    friend class Spawner;
    struct PendingBind;
    struct PendingMount;

    Cage(asio::any_io_executor executor, SpawnRequest request, SpawnerHooks hooks);

    static asio::awaitable<void> serve(std::shared_ptr<Cage> self);
    static asio::awaitable<void> serve_bare(std::shared_ptr<Cage> self);
    // keep.cpp: a cage whose shim outlives this daemon.
    static asio::awaitable<void> push_frames(std::shared_ptr<Cage> self);
    static asio::awaitable<void> conclude(std::shared_ptr<Cage> self);
    asio::awaitable<void> shim_end();
    bool post(const std::string& frame);
    void keep_streams();
    KeptRecord record(const SpawnRequest& request, const CompiledCage& compiled) const;
    void take_over(const KeptRecord& record, const wire::Attached& state);
    void kill_shim();
    static std::function<asio::awaitable<UniqueFd>(SocketSpec, std::string)> binder(
        const std::shared_ptr<Cage>& cage
    );
    static asio::awaitable<void> watch_wall(std::shared_ptr<Cage> self);
    static asio::awaitable<void> watch_use(std::shared_ptr<Cage> self);
    static asio::awaitable<void> sample(std::shared_ptr<Cage> self);
    static asio::awaitable<void> remove_layers(std::shared_ptr<Cage> self);
    /// What it must know of its own policy while it runs.
    void take(const SpawnRequest& request, const CompiledCage& compiled);
    /// The end that its owner reads: the pipe itself, or one behind `limits.output`.
    UniqueFd paced(UniqueFd pipe);
    void watch_unheld(const CompiledCage& compiled);
    void find_planted();
    void check_live(const FsRule& rule) const;
    void on_mounted(const wire::Mounted& mounted);
    void judge_use();
    void judge_end();
    void tell_limit(std::string limit, std::string detail);
    void on_packet(Packet packet);
    void on_denied_call(const wire::DeniedCall& call);
    void on_bound(const wire::Bound& bound, Packet packet);
    asio::awaitable<UniqueFd> request_socket(
        wire::BindSpec spec, std::string name, std::string what
    );
    UniqueFd take_outgoing(Loopback family);
    void finish();
    void end_by_limit(std::string limit, std::string reason, std::string detail);
    void kill_now();
    void signal_all(int number);
    void let_go();
    void close_control();

    asio::any_io_executor executor_;
    CageId id_;
    CageLimits limits_;
    std::vector<PublishedPort> ports_;
    std::vector<std::string> private_folders_;  ///< tmpfs that the cage may fill
    SpawnerHooks hooks_;
    CageReport report_;
    UniqueFd stdin_, stdout_, stderr_, signals_;
    asio::posix::stream_descriptor control_;
    Child shim_;             ///< or the bare command
    UniqueFd adopted_shim_;  ///< pidfd of a shim that another daemon started
    std::unique_ptr<RunnerStreams> streams_;
    ShimStreams* kept_ = nullptr;  ///< streams_, where the shim keeps them
    std::deque<std::string> outbox_;
    Notifier outbox_ready_;
    std::vector<std::string> taken_tags_;
    std::optional<std::chrono::milliseconds> alone_;
    bool ended_alone_ = false;
    bool left_ = false;
    bool released_ = false;
    std::string socket_;  ///< of a shim that outlives us; removed when the shim has ended
    bool bare_ = false;
    bool frozen_ = false;
    pid_t init_pid_ = -1;
    pid_t runner_pid_ = -1;
    ino_t pid_namespace_ = 0;
    std::optional<CageCgroup> cgroup_;
    std::chrono::steady_clock::time_point started_at_ = std::chrono::steady_clock::now();
    CageUse sampled_;
    bool too_deep_ = false;   ///< a layer holds folders that cannot be counted
    bool told_pids_ = false;  ///< that its limit of processes was reached
    std::optional<LayersFolder> layers_folder_;
    std::vector<UniqueFd> layers_;  ///< the upper folders of its `cow` rules
    std::vector<UniqueFd> sockets_;
    bool sockets_complete_ = false;
    std::optional<wire::Failed> failed_;
    CageExit exit_;
    std::uint64_t refused_calls_ = 0;
    std::uint32_t next_bind_ = 0;
    std::map<std::uint32_t, PendingBind*> binds_;
    std::map<std::uint32_t, PendingMount*> mounts_;
    std::string workspace_;              ///< folder of the host
    std::vector<std::string> writable_;  ///< places in the cage
    std::vector<std::string> places_;    ///< of every mount of the cage
    std::vector<UnheldPath> unheld_;
    std::shared_ptr<OutputPace> pace_;                  ///< null: output is not limited
    std::vector<std::pair<UniqueFd, UniqueFd>> paced_;  ///< pipes that wait for their relay
    OutgoingStock outgoing_;
    std::set<std::uint32_t> restocking_;  ///< requests whose sockets go into stock
    std::function<void()> on_sockets_;
    std::function<asio::awaitable<void>()> detach_;  ///< from the gatekeeper
    Completion started_;                             ///< the runner runs, or the launch failed
    Completion shim_gone_;                           ///< of a kept cage
    Completion emptied_;                             ///< no process is left, or the shim is gone
    Completion ended_;
};

}  // namespace volary::cage
