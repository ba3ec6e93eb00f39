// SPDX-License-Identifier: Apache-2.0
#include "cage/spawner.hpp"

#include "base/error.hpp"
#include "cage/backend.hpp"
#include "cage/cage.hpp"
#include "cage/compiler.hpp"
#include "cage/firejail/plan.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/mounts.hpp"
#include "cage/native/plan.hpp"
#include "cage/output_pace.hpp"
#include "cage/podman/plan.hpp"
#include "cage/prepared.hpp"
#include "cage/require.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace volary::cage {
namespace {

/// From the shim's start to the runner's first instruction; tens of times what a slow host takes.
constexpr std::chrono::seconds kStartWait{20};
/// For a shim that was told to go.
constexpr std::chrono::seconds kShimEnd{2};
/// Of bwrap's own words, when it fails; they come over the runner's standard error.
constexpr std::size_t kMaxComplaint = 1000;

struct Pipe {
    UniqueFd ours, theirs;
};

enum class Direction { to_cage, from_cage };

Pipe make_pipe(Direction direction) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) throw_errno("make a pipe for the cage");
    UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    auto& ours = direction == Direction::to_cage ? writer : reader;
    if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) < 0) throw_errno("set a pipe non-blocking");
    if (direction == Direction::to_cage) return {std::move(writer), std::move(reader)};
    return {std::move(reader), std::move(writer)};
}

bool is_executable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

void require_program(const std::string& path, const char* what) {
    if (path.empty() || !is_executable(path))
        throw Error(
            Errc::unavailable, fmt::format("{} is not installed (looked for \"{}\")", what, path)
        );
}

/// What bwrap said on the runner's standard error before it gave up.
std::string complaint(const UniqueFd& stream) {
    if (!stream) return {};
    std::string text(kMaxComplaint, '\0');
    const auto got = ::read(stream.get(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    while (text.ends_with('\n')) text.pop_back();
    return text;
}

Error launch_error(const wire::Failed& failed, const std::string& said) {
    auto text = failed.step;
    if (!failed.subject.empty()) text += fmt::format(" \"{}\"", failed.subject);
    if (failed.error != 0) text += fmt::format(": {}", ::strerror(failed.error));
    if (!said.empty()) text += fmt::format(" ({})", said);
    if (failed.step == "execute" && failed.error == ENOENT) return {Errc::not_found, text};
    if (failed.step == "execute" && failed.error == EACCES) return {Errc::denied, text};
    if (failed.step == "unshare" && (failed.error == EPERM || failed.error == ENOSPC))
        return {
            Errc::unavailable,
            text +
                ": this host does not let ordinary users make user namespaces; as root, look at "
                "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and "
                "kernel.apparmor_restrict_unprivileged_userns"
        };
    if (failed.step == "mount overlay")
        return {
            Errc::unavailable,
            text +
                ": this host does not layer that folder for ordinary users (Linux 5.11 is needed; "
                "neither side may be an overlay or a network file system, and nothing may be "
                "mounted below the folder); use mode rw or ro"
        };
    return {Errc::io, text};
}

/// Path on the host of a path in the cage, for a command that runs bare.
std::string to_host(const SpawnRequest& request, const std::string& path) {
    for (const auto& bind : request.extra_binds)
        if (is_beneath(path, bind.target)) return bind.source + path.substr(bind.target.size());
    if (!request.policy.workspace.empty() && is_beneath(path, kWorkspace))
        return request.policy.workspace + path.substr(std::strlen(kWorkspace));
    return path;
}

std::string search_path(const std::string& name, const std::string& folder) {
    if (name.starts_with('/')) return name;
    if (name.find('/') != std::string::npos) return folder + "/" + name;
    for (const char* place : {"/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"}) {
        auto path = std::string(place) + "/" + name;
        if (is_executable(path)) return path;
    }
    throw Error(Errc::not_found, fmt::format("execute \"{}\": no such program", name));
}

/// Empty when no absolute folder of PATH has it; `name` begins with a slash.
std::string find_in_path(const char* name) {
    const char* path = std::getenv("PATH");
    std::string list = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
    while (!list.empty()) {
        const auto end = std::min(list.find(':'), list.size());
        auto candidate = list.substr(0, end) + name;
        list.erase(0, std::min(end + 1, list.size()));
        if (candidate.starts_with('/') && is_executable(candidate)) return candidate;
    }
    return {};
}

}  // namespace

SpawnerPaths find_programs() {
    SpawnerPaths out;
    std::array<char, 4096> self{};
    const auto size = ::readlink("/proc/self/exe", self.data(), self.size());
    if (size <= 0) throw_errno("readlink", "/proc/self/exe");
    const std::string program(self.data(), static_cast<std::size_t>(size));
    const auto folder = program.substr(0, program.rfind('/'));
    out.shim = folder + "/volary-shim";
    out.init = folder + "/volary-init";
    out.bwrap = find_in_path("/bwrap");
    out.podman = find_in_path("/podman");
    out.crun = find_in_path("/crun");
    out.firejail = find_in_path("/firejail");
    return out;
}

Spawner::Spawner(
    asio::any_io_executor executor, SpawnerPaths paths, Gatekeeper& gatekeeper, SpawnerHooks hooks
)
    : executor_(std::move(executor)),
      paths_(std::move(paths)),
      gatekeeper_(gatekeeper),
      hooks_(std::move(hooks)),
      cgroups_(find_cgroups()),
      tasks_(executor_, log_task_errors()) {}

Spawner::~Spawner() = default;

asio::awaitable<std::shared_ptr<Cage>> Spawner::spawn(SpawnRequest request) {
    if (::geteuid() == 0 || ::getuid() == 0)
        throw Error(
            Errc::denied,
            "a cage is never started by root: run volary as an ordinary user (its own is "
            "\"volary\")"
        );
    if (request.policy.disabled) co_return spawn_bare(request);
    co_return co_await spawn_caged(std::move(request));
}

namespace {

void fill_launch(Prepared& prepared, const SpawnerPaths& paths) {
    auto& launch = prepared.launch;
    auto& compiled = prepared.compiled;
    if (prepared.spec.policy.backend == CageBackend::podman) {
        auto plan = to_podman(compiled, {paths.podman, paths.crun}, launch.joins);
        launch.joins.clear();
        launch.native = std::move(plan.root);
        launch.launcher = std::move(plan.podman);
        compiled.command = std::move(plan.command);
        compiled.data = std::move(plan.data);
    } else if (prepared.spec.policy.backend == CageBackend::firejail) {
        fill_firejail(prepared.spec, compiled, paths.firejail, launch);
    } else if (prepared.spec.policy.backend == CageBackend::native) {
        launch.native = to_native(compiled);
    } else {
        launch.bwrap = paths.bwrap;
        launch.options = std::move(compiled.options);
    }
    launch.command = std::move(compiled.command);
    launch.data = std::move(compiled.data);
    launch.keep_session = prepared.spec.keep_session;
    launch.notify = prepared.spec.notify;
    launch.stdio[0] = 0;
    launch.stdio[1] = 1;
    launch.stdio[2] = 2;
    for (const auto& socket : compiled.net.sockets) {
        const bool udp = socket.kind == SocketSpec::Kind::dns_udp;
        const auto kind = udp ? wire::BindSpec::Kind::udp : wire::BindSpec::Kind::tcp;
        launch.sockets.push_back({kind, socket.address, socket.port});
    }
    for (auto& outgoing : OutgoingStock::first_order(prepared.spec.policy.ports))
        launch.sockets.push_back(std::move(outgoing));
    if (prepared.fds.size() + 8 > wire::kMaxFds)
        throw Error(
            Errc::too_large, fmt::format("more than {} binds in one cage", wire::kMaxFds - 16)
        );
}

/// In the form of /proc/sys/kernel/random/boot_id.
std::string random_uuid() {
    std::array<std::uint16_t, 8> n{};
    if (::getrandom(n.data(), sizeof n, 0) != sizeof n) throw_errno("getrandom");
    return fmt::format(
        "{:04x}{:04x}-{:04x}-4{:03x}-{:04x}-{:04x}{:04x}{:04x}", n[0], n[1], n[2], n[3] & 0xfffU,
        (n[4] & 0x3fffU) | 0x8000U, n[5], n[6], n[7]
    );
}

/// Before anything is started: what the policy insists on is there.
void check_required(const CagePolicy& policy, const CgroupPlace& cgroups, const HostFacts& layers) {
    if (policy.require.empty()) return;
    auto host = look_at_host(cgroups);
    host.notify = layers.notify;
    const auto missing = missing_layers(policy, host);
    if (missing.empty()) return;
    throw Error(Errc::unavailable, fmt::format("{}", fmt::join(missing, "; ")));
}

CageSpec to_spec(const SpawnRequest& request, const std::string& init, bool by_fd, bool rlimits) {
    CageSpec spec;
    spec.policy = request.policy;
    spec.argv = request.argv;
    spec.working_directory = request.working_directory;
    spec.extra_binds = request.extra_binds;
    spec.internal_names = request.internal_names;
    spec.layers_folder = request.layers_folder;
    spec.kept_home = request.kept_home;
    spec.boot_id = random_uuid();
    spec.signals = request.signal_pipe;
    spec.keep_session = request.inherit && request.inherit->terminal;
    spec.init = init;
    spec.bind_by_fd = by_fd;
    spec.memory_by_rlimit = rlimits;
    return spec;
}

}  // namespace

void Spawner::require_programs(CageBackend backend) {
    require_program(paths_.shim, "volary-shim");
    require_program(paths_.init, "volary-init");
    if (backend == CageBackend::bwrap) require_program(paths_.bwrap, "bwrap (package bubblewrap)");
    if (backend == CageBackend::firejail) require_firejail(paths_.firejail);
    if (backend != CageBackend::podman) return;
    require_program(paths_.podman, "podman (package podman)");
    require_program(paths_.crun, "crun (package crun), which backend podman needs");
    if (podman_problem_ == std::nullopt) podman_problem_ = find_podman_problem(paths_.podman);
    if (!podman_problem_->empty()) throw Error(Errc::unavailable, *podman_problem_);
}

asio::awaitable<std::shared_ptr<Cage>> Spawner::spawn_caged(SpawnRequest request) {
    require_backend(request.policy);
    require_services(request.policy.backend, request.internal_names);
    require_programs(request.policy.backend);
    gatekeeper_.check(request.policy.net);
    require_root(request.policy.backend, host().landlock_abi);
    auto cage = std::shared_ptr<Cage>(new Cage(executor_, request, hooks_));
    Prepared prepared;
    prepare(request, *cage, prepared);
    start_shim(request, *cage, prepared);
    attach_when_bound(cage, request.policy.net, prepared.compiled.net);
    cage->detach_ = [this, id = cage->id_] { return gatekeeper_.detach(id); };
    remember(cage);
    serve(cage);
    const bool answered = co_await cage->started_.wait_for(kStartWait);
    if (answered && cage->runner_pid_ > 0) {
        watch(cage);
        co_return cage;
    }
    const auto said =
        cage->kept_ != nullptr ? cage->kept_->take_all(Stream::err) : complaint(cage->stderr_);
    co_await cage->stop(std::chrono::milliseconds{0});
    if (!answered) throw Error(Errc::timeout, "start the cage: the shim does not answer");
    throw launch_error(
        cage->failed_.value_or(wire::Failed{"start the cage", "the shim ended", 0}), said
    );
}

const HostFacts& Spawner::host() {
    if (host_) return *host_;
    require_program(paths_.init, "volary-init");
    return host_.emplace(find_host_facts(paths_));
}

void Spawner::prepare(const SpawnRequest& request, Cage& cage, Prepared& prepared) {
    check_required(request.policy, cgroups_, *host_);
    const bool rlimits = cgroups_.backend == LimitsBackend::rlimits;
    prepared.spec = to_spec(request, paths_.init, host_->bind_by_fd, rlimits);
    prepared.spec.notify = host_->notify && gives(request.policy.backend, Guarantee::notify);
    prepared.compiled = compile(prepared.spec, RealHost());
    cage.take(request, prepared.compiled);
    cage.report_.layers = layer_words(prepared.spec, *host_);
    cage.report_.limits_backend = to_string(cgroups_.backend);
    add_pipes(request, cage, prepared);
    for (auto& source : open_sources(prepared.compiled.sources))
        add_fd(prepared, std::move(source));
    add_layers(request, cage, prepared);
    if (!rlimits) cage.cgroup_ = CageCgroup::create(cgroups_, cage.id_, cage.limits_);
    if (cage.cgroup_) {
        for (auto& procs : cage.cgroup_->open_procs()) {
            prepared.launch.joins.push_back(static_cast<std::uint16_t>(prepared.fds.size()));
            add_fd(prepared, std::move(procs));
        }
    }
    fill_launch(prepared, paths_);
    if (request.keep) add_keep(request, cage, prepared);
}

void Spawner::add_pipes(const SpawnRequest& request, Cage& cage, Prepared& prepared) {
    if (request.inherit) {
        prepared.fds = {request.inherit->in, request.inherit->out, request.inherit->err};
    } else {
        auto in = make_pipe(Direction::to_cage);
        auto out = make_pipe(Direction::from_cage);
        auto err = make_pipe(Direction::from_cage);
        if (request.keep) {
            for (auto* end : {&in, &out, &err}) prepared.kept.push_back(std::move(end->ours));
        } else {
            cage.stdin_ = std::move(in.ours);
            cage.stdout_ = cage.paced(std::move(out.ours));
            cage.stderr_ = cage.paced(std::move(err.ours));
        }
        add_fd(prepared, std::move(in.theirs));
        add_fd(prepared, std::move(out.theirs));
        add_fd(prepared, std::move(err.theirs));
    }
    if (request.signal_pipe) {
        auto signals = make_pipe(Direction::from_cage);
        (request.keep ? prepared.kept.emplace_back() : cage.signals_) = std::move(signals.ours);
        add_fd(prepared, std::move(signals.theirs));
    }
}

void Spawner::add_layers(const SpawnRequest& request, Cage& cage, Prepared& prepared) {
    const auto& overlays = prepared.compiled.overlays;
    if (overlays.empty()) return;
    cage.layers_folder_.emplace(LayersFolder::open(request.layers_folder));
    for (const auto& overlay : overlays) {
        struct stat info{};
        if (::fstat(prepared.fds[overlay.source], &info) < 0 || !S_ISDIR(info.st_mode))
            throw Error(
                Errc::invalid,
                fmt::format(
                    "{}: \"{}\" is no folder: cow is for folders", overlay.rule, overlay.path
                )
            );
        auto layer = cage.layers_folder_->layer({overlay.target, overlay.path, overlay.root});
        cage.layers_.emplace_back(
            ::openat(layer.get(), "upper", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        );
        const auto index = static_cast<std::uint16_t>(prepared.fds.size());
        prepared.launch.overlays.push_back({overlay.source, index, overlay.rule});
        add_fd(prepared, std::move(layer));
    }
}

void Spawner::start_shim(const SpawnRequest& request, Cage& cage, const Prepared& prepared) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        throw_errno("socketpair");
    UniqueFd ours(pair[0]);
    const UniqueFd theirs(pair[1]);
    if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) < 0) throw_errno("set O_NONBLOCK");
    ChildSpec spec;
    spec.argv = {paths_.shim};
    if (request.policy.backend == CageBackend::firejail) spec.argv.emplace_back("--on-host");
    spec.fds = {{theirs.get(), 3}};
    if (request.inherit && request.inherit->terminal) spec.session = ChildSession::inherited;
    cage.shim_ = Child::spawn(spec);
    cage.report_.shim_pid = cage.shim_.pid();
    if (!send_packet(ours.get(), wire::encode(prepared.launch), prepared.fds))
        throw_errno("send the launch request to", "volary-shim");
    cage.control_.assign(ours.release());
}

void Spawner::attach_when_bound(
    const std::shared_ptr<Cage>& cage, std::vector<NetRule> rules, NetPlan plan
) {
    // Weak: the cage must not own itself through its own callback.
    const std::weak_ptr<Cage> weak = cage;
    auto& gatekeeper = gatekeeper_;
    cage->on_sockets_ = [weak, &gatekeeper, rules = std::move(rules), plan = std::move(plan)] {
        const auto self = weak.lock();
        if (!self || self->sockets_.empty()) return;
        auto packet = std::move(self->sockets_.back());
        self->sockets_.pop_back();
        while (self->sockets_.size() > plan.sockets.size()) {
            self->outgoing_.put(std::move(self->sockets_.back()));
            self->sockets_.pop_back();
        }
        auto later = Cage::binder(self);
        auto sockets = std::exchange(self->sockets_, {});
        try {
            gatekeeper.attach(
                self->id_, rules, plan, std::move(sockets), std::move(packet), std::move(later)
            );
        } catch (const Error& error) {
            // A cage without its gatekeeper would look alive and reach nothing.
            self->failed_ = wire::Failed{"attach the network", error.what(), 0};
            self->kill_now();
        }
    };
}

void Spawner::watch(const std::shared_ptr<Cage>& cage) {
    const auto name = "limits of cage " + cage->id_.str();
    if (cage->limits_.wall) tasks_.spawn(name, Cage::watch_wall(cage));
    if (!cage->bare_) tasks_.spawn(name, Cage::watch_use(cage));
    if (cage->layers_folder_) tasks_.spawn(name, Cage::remove_layers(cage));
    if (cage->pace_) {
        for (auto& [from, to] : std::exchange(cage->paced_, {}))
            tasks_.spawn(name, OutputPace::relay(cage->pace_, std::move(from), std::move(to)));
    }
}

std::shared_ptr<Cage> Spawner::spawn_bare(const SpawnRequest& request) {
    auto cage = std::shared_ptr<Cage>(new Cage(executor_, request, hooks_));
    cage->bare_ = true;
    cage->limits_ = request.policy.limits;
    cage->report_.layers = {"none"};
    cage->report_.limits_backend = to_string(LimitsBackend::none);
    ChildSpec spec;
    const auto& folder = request.working_directory;
    const auto usual =
        request.policy.workspace.empty() ? std::string("/") : std::string(kWorkspace);
    spec.working_directory = to_host(request, folder.empty() ? usual : folder);
    spec.argv = request.argv;
    if (spec.argv.empty()) throw Error(Errc::invalid, "the command is empty");
    spec.argv[0] = search_path(to_host(request, spec.argv[0]), spec.working_directory);
    spec.env = make_environment(request.policy);
    std::vector<UniqueFd> theirs;
    const auto give = [&](UniqueFd& ours, int number, Direction direction) {
        auto pipe = make_pipe(direction);
        ours = std::move(pipe.ours);
        spec.fds.emplace_back(pipe.theirs.get(), number);
        theirs.push_back(std::move(pipe.theirs));
    };
    if (request.inherit) {
        spec.fds = {{request.inherit->in, 0}, {request.inherit->out, 1}, {request.inherit->err, 2}};
    } else {
        give(cage->stdin_, 0, Direction::to_cage);
        give(cage->stdout_, 1, Direction::from_cage);
        give(cage->stderr_, 2, Direction::from_cage);
    }
    if (request.signal_pipe) give(cage->signals_, 3, Direction::from_cage);
    cage->shim_ = Child::spawn(spec);
    cage->runner_pid_ = cage->report_.runner_pid = cage->shim_.pid();
    remember(cage);
    tasks_.spawn("command " + cage->id_.str(), Cage::serve_bare(cage));
    watch(cage);
    return cage;
}

void Spawner::remember(const std::shared_ptr<Cage>& cage) {
    std::erase_if(cages_, [](const auto& one) { return one.expired(); });
    cages_.push_back(cage);
}

asio::awaitable<void> Spawner::close() {
    std::vector<std::shared_ptr<Cage>> live;
    for (const auto& weak : cages_)
        if (auto cage = weak.lock(); cage && !cage->left_) live.push_back(std::move(cage));
    for (const auto& cage : live) cage->kill_now();
    for (const auto& cage : live) {
        co_await cage->wait();
        if (cage->released_) (void)co_await cage->shim_gone_.wait_for(kShimEnd);
    }
    co_await tasks_.close();
    // A shim whose cage's end is in no log yet waits for who comes next; the others end now.
    for (const auto& cage : live) cage->leave();
}

}  // namespace volary::cage
