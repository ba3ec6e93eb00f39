// SPDX-License-Identifier: Apache-2.0
// The limits of a running cage: what the kernel does not hold is sampled here.
#include "base/error.hpp"
#include "base/protected.hpp"
#include "cage/cage.hpp"
#include "cage/denial.hpp"
#include "cage/output_pace.hpp"

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <fmt/format.h>

namespace volary::cage {
namespace {

/// How often a cage is looked at. Without a cgroup a memory hog fills about 1 GB in this time; its
/// processes have RLIMIT_DATA each.
constexpr std::chrono::milliseconds kSample{250};
/// Processes or files looked at before the loop does something else: about 1 ms.
constexpr std::size_t kSlice = 16;

/// An empty file costs no byte of `limits.disk` but about a kilobyte of the kernel's own memory,
/// and bwrap's tmpfs has no limit of its own for that.
constexpr std::uint64_t kBytesPerFile = 4096;
constexpr std::uint64_t kFewestFiles = 16384;

std::uint64_t private_files(std::uint64_t disk) {
    return std::max(disk / kBytesPerFile, kFewestFiles);
}

/// Why somebody should look at a protected path that was made.
std::string_view reason_of(std::string_view path) {
    for (const auto& each : protected_paths())
        if (path.ends_with(each.path)) return each.reason;
    return "git trusts it";
}

/// Steps to the end of `walk`, with the loop's other work between the steps.
template <class Walk>
asio::awaitable<void> walk_through(Walk* walk) {
    const auto executor = co_await asio::this_coro::executor;
    while (walk->step(kSlice)) co_await asio::post(executor, asio::use_awaitable);
}

}  // namespace

void Cage::take(const SpawnRequest& request, const CompiledCage& compiled) {
    limits_ = compiled.limits;
    workspace_ = request.policy.workspace;
    private_folders_ = {"/dev/shm"};
    writable_ = {"/dev/shm"};
    for (const auto& mount : compiled.mounts) {
        places_.push_back(mount.target);
        if (mount.kind == Mount::Kind::tmpfs) private_folders_.push_back(mount.target);
        const bool writable = mount.kind == Mount::Kind::tmpfs ||
                              mount.kind == Mount::Kind::overlay ||
                              mount.kind == Mount::Kind::bind_rw;
        if (writable) writable_.push_back(mount.target);
    }
    watch_unheld(compiled);
    if (limits_.output && !request.inherit) pace_ = std::make_shared<OutputPace>(*limits_.output);
}

UniqueFd Cage::paced(UniqueFd pipe) {
    if (!pace_) return pipe;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) throw_errno("make a pipe for the cage");
    UniqueFd reader(ends[0]);
    paced_.emplace_back(std::move(pipe), UniqueFd(ends[1]));
    return reader;
}

CageUse Cage::use() const {
    auto out = sampled_;
    if (!running()) return out;
    const auto now = std::chrono::steady_clock::now();
    out.elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - started_at_);
    if (!cgroup_) return out;
    out.memory = cgroup_->memory();
    out.pids = cgroup_->pids();
    out.cpu_time = cgroup_->cpu_time().value_or(out.cpu_time);
    return out;
}

void Cage::tell_limit(std::string limit, std::string detail) {
    if (hooks_.on_limit) hooks_.on_limit(id_, std::move(limit), std::move(detail));
}

void Cage::end_by_limit(std::string limit, std::string reason, std::string detail) {
    if (ended_.done() || !exit_.reason.empty()) return;
    exit_.reason = std::move(reason);
    tell_limit(std::move(limit), std::move(detail));
    kill_now();
}

asio::awaitable<void> Cage::watch_wall(std::shared_ptr<Cage> self) {
    const auto wall = *self->limits_.wall;
    const auto lived = std::chrono::steady_clock::now() - self->started_at_;
    const auto left = wall - std::chrono::duration_cast<std::chrono::milliseconds>(lived);
    const bool ended = co_await self->ended_.wait_for(left);
    if (ended) co_return;
    auto detail = fmt::format("ran longer than {} ms", wall.count());
    self->end_by_limit("wall", "wall", std::move(detail));
}

asio::awaitable<void> Cage::watch_use(std::shared_ptr<Cage> self) {
    while (true) {
        const bool ended = co_await self->ended_.wait_for(kSample);
        if (ended) co_return;
        const auto began = std::chrono::steady_clock::now();
        co_await sample(self);
        self->judge_use();
        // A large layer takes long to count: looking never takes more than a tenth of the time.
        const auto took = std::chrono::steady_clock::now() - began;
        const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(took * 9);
        if (rest > kSample && co_await self->ended_.wait_for(rest - kSample)) co_return;
    }
}

asio::awaitable<void> Cage::sample(std::shared_ptr<Cage> self) {
    CageUse now;
    FamilySample family(self->init_pid_);
    if (!self->cgroup_ || !self->cgroup_->cpu_time()) co_await walk_through(&family);
    now.memory = family.resident_bytes();
    now.pids = family.processes();
    now.cpu_time = std::max(family.cpu_time(), self->sampled_.cpu_time);
    for (const auto& folder : self->private_folders_) {
        const auto used = tmpfs_use(self->init_pid_, folder);
        // Shared memory has a size of its own and counts as memory.
        if (folder != "/dev/shm") now.disk += used.bytes;
        now.files += used.files;
    }
    for (const auto& layer : self->layers_) {
        TreeSample tree(layer.get());
        co_await walk_through(&tree);
        now.disk += tree.bytes();
        now.files += tree.files();
        self->too_deep_ = self->too_deep_ || tree.too_deep();
    }
    self->sampled_ = now;
    self->sampled_ = self->use();
}

void Cage::judge_use() {
    const auto now = use();
    const auto memory = limits_.memory->value;
    if (!cgroup_ && now.memory > memory)
        end_by_limit(
            "memory", "oom",
            fmt::format("{} MiB resident, {} allowed", now.memory >> 20U, memory >> 20U)
        );
    const auto disk = limits_.disk->value;
    if (now.disk > disk)
        end_by_limit(
            "disk", "disk",
            fmt::format("{} MiB in own folders, {} allowed", now.disk >> 20U, disk >> 20U)
        );
    if (now.files > private_files(disk))
        end_by_limit(
            "disk", "disk",
            fmt::format("{} files in own folders, {} allowed", now.files, private_files(disk))
        );
    if (too_deep_)
        end_by_limit(
            "disk", "disk",
            fmt::format("folders more than {} deep in a cow layer", TreeSample::kMaxDepth)
        );
    const auto most = *limits_.pids;
    // RLIMIT_NPROC holds it; this catches a host where it counts another way.
    if (!cgroup_ && now.pids > most + 1U)
        end_by_limit("pids", "pids", fmt::format("{} processes, {} allowed", now.pids, most));
    const auto refused = cgroup_ ? cgroup_->refused_pids() : 0;
    if (told_pids_ || (refused == 0 && now.pids < most)) return;
    told_pids_ = true;
    tell_limit("pids", fmt::format("{} processes, {} allowed: more are refused", now.pids, most));
}

void Cage::judge_end() {
    if (!cgroup_) return;
    const auto kills = cgroup_->oom_kills();
    if (kills == 0) return;
    // The command may outlive the child that was ended; then it is told and the reason is its own.
    auto detail = fmt::format(
        "the kernel ended {} of its processes for lack of memory: peak {} MiB, {} allowed", kills,
        cgroup_->peak_memory() >> 20U, limits_.memory->value >> 20U
    );
    tell_limit("memory", std::move(detail));
    if (exit_.reason.empty()) exit_.reason = "oom";
}

asio::awaitable<void> Cage::remove_layers(std::shared_ptr<Cage> self) {
    co_await self->wait();
    // Unlocks, and removes what was temporary.
    self->layers_folder_.reset();
}

void Cage::watch_unheld(const CompiledCage& compiled) {
    const RealHost host;
    for (const auto& path : compiled.unheld) {
        const auto kind = host.kind(path);
        unheld_.push_back(
            {path, kind, kind == PathKind::link ? host.link_target(path) : std::string()}
        );
    }
}

void Cage::find_planted() {
    const RealHost host;
    for (const auto& before : unheld_) {
        const auto kind = host.kind(before.path);
        const auto target = kind == PathKind::link ? host.link_target(before.path) : std::string();
        if (kind == PathKind::absent || (kind == before.kind && target == before.target)) continue;
        exit_.planted.push_back(before.path);
        if (!hooks_.denied) continue;
        Denial denial;
        denial.cage = id_;
        denial.layer = "planted";
        denial.what = fmt::format("made \"{}\": {}", before.path, reason_of(before.path));
        hooks_.denied(id_, std::move(denial));
    }
}

}  // namespace volary::cage
