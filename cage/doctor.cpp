// SPDX-License-Identifier: Apache-2.0
#include "cage/doctor.hpp"

#include "base/clock.hpp"
#include "base/error.hpp"
#include "cage/backend.hpp"
#include "cage/cage.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/spawner.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <sys/utsname.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

namespace volary::cage {
namespace {

using namespace std::chrono_literals;

/// Ends a cage of the examination whatever its probe does.
constexpr auto kWall = 10s;
constexpr std::uint32_t kPids = 24;
constexpr std::uint64_t kMemory = std::uint64_t{64} << 20U;
constexpr const char* kMegabytes = "256";
constexpr const char* kAllowed = "volary-doctor.example";
constexpr const char* kProbe = "/opt/volary-probe";
constexpr std::size_t kMaxOutput = std::size_t{64} << 10U;

std::string probe_of(const SpawnerPaths& paths) {
    return paths.init.substr(0, paths.init.rfind('/')) + "/volary-probe";
}

SpawnRequest make_request(const SpawnerPaths& paths, std::vector<std::string> argv) {
    SpawnRequest out;
    out.id = CageId::make(SystemClock());
    out.argv = std::move(argv);
    out.argv.insert(out.argv.begin(), kProbe);
    FsRule probe;
    probe.source = probe_of(paths);
    probe.target = kProbe;
    out.extra_binds = {probe};
    NetRule rule;
    rule.host = kAllowed;
    rule.text = fmt::format("{}:443", kAllowed);
    out.policy.net = {rule};
    out.policy.limits.wall = kWall;
    return out;
}

asio::awaitable<std::string> read_output(UniqueFd stream) {
    std::string out;
    asio::posix::stream_descriptor reader(co_await asio::this_coro::executor, stream.release());
    auto buffer = asio::dynamic_buffer(out, kMaxOutput);
    co_await asio::async_read(reader, buffer, as_result);
    co_return out;
}

/// "/proc/PID/uid_map" of a caged process as this one sees it.
std::string uid_map_of(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/uid_map", pid));
    std::string line;
    std::getline(file, line);
    return line;
}

asio::awaitable<void> attack_inside(Spawner* spawner, DoctorFacts* facts) {
    auto request = make_request(spawner->paths(), {"inside", kAllowed});
    request.policy.limits.pids = kPids;
    auto cage = co_await spawner->spawn(std::move(request));
    facts->uid_map = uid_map_of(cage->report().runner_pid);
    facts->limits_backend = cage->report().limits_backend;
    cage->take_stdin();
    const auto output = co_await read_output(cage->take_stdout());
    co_await cage->wait();
    facts->inside = parse_probe(output);
    facts->call_told = cage->refused_calls() > 0;
}

asio::awaitable<void> attack_memory(Spawner* spawner, DoctorFacts* facts) {
    auto request = make_request(spawner->paths(), {"memory", kMegabytes});
    request.policy.limits.memory = ByteCount{kMemory};
    auto cage = co_await spawner->spawn(std::move(request));
    cage->take_stdin();
    const auto output = co_await read_output(cage->take_stdout());
    const auto exit = co_await cage->wait();
    const auto results = parse_probe(output);
    const auto found = results.find("memory");
    facts->memory = exit.reason == "oom"     ? "oom"
                    : found != results.end() ? found->second
                                             : to_string(exit.status);
}

asio::awaitable<void> attack_end(Spawner* spawner, DoctorFacts* facts) {
    auto cage = co_await spawner->spawn(make_request(spawner->paths(), {"linger"}));
    cage->take_stdin();
    asio::posix::stream_descriptor reader(
        co_await asio::this_coro::executor, cage->take_stdout().release()
    );
    std::string line;
    auto buffer = asio::dynamic_buffer(line, kMaxOutput);
    co_await asio::async_read_until(reader, buffer, '\n', as_result);
    const auto before = cage->processes();
    // bwrap's first process, the probe, and at least one that left its session.
    facts->lingered = before.size() > 2;
    co_await cage->stop(100ms);
    facts->left = static_cast<std::size_t>(std::ranges::count_if(before, [](pid_t pid) {
        return ::kill(pid, 0) == 0;
    }));
}

asio::awaitable<void> attack_other(Spawner* spawner, OtherBackend* other, CageBackend backend) {
    auto request = make_request(spawner->paths(), {"inside", kAllowed});
    request.policy.backend = backend;
    if (!gives(backend, Guarantee::gatekeeper)) request.policy.net.clear();
    auto cage = co_await spawner->spawn(std::move(request));
    cage->take_stdin();
    const auto output = co_await read_output(cage->take_stdout());
    co_await cage->wait();
    other->inside = parse_probe(output);
}

/// What cannot be built here is no error: these back ends are for who asks for them.
asio::awaitable<void> attack_others(Spawner* spawner, DoctorFacts* facts) {
    for (const auto backend : {CageBackend::native, CageBackend::podman, CageBackend::firejail}) {
        OtherBackend other;
        other.name = to_string(backend);
        try {
            co_await attack_other(spawner, &other, backend);
        } catch (const Error& error) {
            other.problem = error.what();
        }
        facts->others.push_back(std::move(other));
    }
}

/// One line that a program prints, run outside of any cage.
asio::awaitable<std::string> first_line(std::vector<std::string> argv) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) throw_errno("make a pipe");
    UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    ChildSpec spec;
    spec.argv = std::move(argv);
    spec.fds = {{theirs.get(), 1}};
    auto child = Child::spawn(spec);
    theirs.reset();
    auto text = co_await read_output(std::move(ours));
    co_await child.wait();
    co_return text.substr(0, text.find('\n'));
}

asio::awaitable<void> examine_into(Spawner* spawner, DoctorFacts* facts) {
    const auto& layers = spawner->host();
    facts->notify = layers.notify;
    facts->landlock_abi = layers.landlock_abi;
    facts->bind_by_fd = layers.bind_by_fd;
    facts->uid = ::geteuid();
    utsname host{};
    ::uname(&host);
    facts->kernel = fmt::format("{} {}", host.sysname, host.release);
    const auto probe = probe_of(spawner->paths());
    if (::access(probe.c_str(), X_OK) != 0)
        throw Error(Errc::unavailable, fmt::format("volary-probe is missing at \"{}\"", probe));
    facts->bwrap = co_await first_line({spawner->paths().bwrap, "--version"});
    const auto overlay = co_await first_line({probe, "overlay"});
    facts->overlay = overlay.substr(overlay.find(' ') + 1);
    co_await attack_inside(spawner, facts);
    co_await attack_memory(spawner, facts);
    co_await attack_end(spawner, facts);
    co_await attack_others(spawner, facts);
}

/// The spawner's parts for a program that has no daemon.
struct Parts {
    Gatekeeper gatekeeper;
    Spawner spawner;

    explicit Parts(const asio::any_io_executor& on)
        : gatekeeper(on, {}, {}), spawner(on, find_programs(), gatekeeper, {}) {}
};

}  // namespace

asio::awaitable<std::vector<DoctorCheck>> examine(Spawner& spawner) {
    auto* const used = &spawner;
    DoctorFacts facts;
    std::string problem;
    try {
        co_await examine_into(used, &facts);
    } catch (const Error& error) {
        problem = error.what();
    }
    if (problem.empty()) co_return judge(facts);
    co_return std::vector<DoctorCheck>{
        {"a cage", "host", "broken", problem, "without this no agent can run in a cage here"}
    };
}

asio::awaitable<std::vector<DoctorCheck>> examine_host() {
    const auto executor = co_await asio::this_coro::executor;
    Parts parts(executor);
    auto checks = co_await examine(parts.spawner);
    co_await parts.spawner.close();
    co_await parts.gatekeeper.close();
    co_return checks;
}

}  // namespace volary::cage
