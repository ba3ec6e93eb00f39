// SPDX-License-Identifier: Apache-2.0
// Cage spawn, with both back ends, against bare bwrap with the same binds and namespaces and
// against other programs of the kind, in one run. Each sample: from the start to the first byte
// that the runner writes. The argument lists of the peers are printed (not with --json).
#include "base/child.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "cage/cage.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/processes.hpp"
#include "tests/bench/peers.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <poll.h>
#include <thread>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace {

using namespace volary;
using namespace volary::bench;
using namespace volary::cage;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 60;
/// Cages of one throughput sample, for all workers together.
constexpr int kBatch = 200;
/// Of the slow peers.
constexpr int kPeerRounds = 7;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// What one back end gave.
struct Samples {
    explicit Samples(CageBackend which) : backend(which) {}

    CageBackend backend;
    std::vector<double> spawn, net;
    double per_s_1 = 0, per_s_2 = 0, idle_kb = 0;
};

SpawnRequest sample_request(CageBackend backend, std::vector<std::string> argv) {
    SpawnRequest request;
    request.id = CageId::make(SystemClock());
    request.policy = sample_policy();
    request.policy.backend = backend;
    request.argv = std::move(argv);
    return request;
}

asio::awaitable<void> time_spawn(Spawner* spawner, Samples* samples) {
    auto request = sample_request(samples->backend, {"/bin/echo"});
    const auto start = Clock::now();
    auto cage = co_await spawner->spawn(std::move(request));
    asio::posix::stream_descriptor out(
        co_await asio::this_coro::executor, cage->take_stdout().release()
    );
    char byte = 0;
    co_await out.async_read_some(asio::buffer(&byte, 1), asio::use_awaitable);
    samples->spawn.push_back(seconds_since(start) * 1000);
    samples->net.push_back(static_cast<double>(cage->report().net_setup.count()) / 1000);
    co_await cage->wait();
}

asio::awaitable<void> work(Spawner* spawner, CageBackend backend, int* left) {
    while (*left > 0) {
        --*left;
        auto request = sample_request(backend, {"/bin/true"});
        auto cage = co_await spawner->spawn(std::move(request));
        co_await cage->wait();
    }
}

/// The workers are coroutines of one daemon's loop, as in a daemon.
void measure_rate(
    asio::io_context& io, Spawner& spawner, CageBackend backend, int workers, double& out
) {
    int left = kBatch;
    int running = workers;
    std::exception_ptr failed;
    auto on_done = [&](const std::exception_ptr& error) {
        if (error) failed = error;
        --running;
    };
    const auto start = Clock::now();
    for (int i = 0; i < workers; ++i) asio::co_spawn(io, work(&spawner, backend, &left), on_done);
    io.restart();
    // To the end of each worker: they refer to what is on this stack.
    while (running > 0 && io.run_one() > 0) {
    }
    out = kBatch / seconds_since(start);
    if (failed) std::rethrow_exception(failed);
}

/// Proportional set size of one process, in KB (proc(5), smaps_rollup).
double pss_kb(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("Pss:")) return std::stod(line.substr(4));
    return 0;
}

/// Memory of the chain beyond the payload: shim, bwrap and the first process of the namespace.
asio::awaitable<void> weigh(Spawner* spawner, Samples* samples) {
    constexpr int kCages = 10;
    std::vector<std::shared_ptr<Cage>> cages;
    for (int i = 0; i < kCages; ++i) {
        auto request = sample_request(samples->backend, {"/bin/sleep", "1000"});
        cages.push_back(co_await spawner->spawn(std::move(request)));
    }
    double sum = 0;
    for (const auto& cage : cages) {
        const auto shim = cage->report().shim_pid;
        sum += pss_kb(shim);
        for (const auto pid : family_of(shim))
            if (pid != shim && pid != cage->report().runner_pid) sum += pss_kb(pid);
    }
    samples->idle_kb = sum / kCages;
    for (const auto& cage : cages) co_await cage->stop(std::chrono::milliseconds(0));
}

asio::awaitable<void> measure_latency(
    Spawner* spawner, std::vector<Samples>* all, std::vector<double>* bwrap
) {
    for (int round = 0; round < kRounds; ++round) {
        // In turns, so that all see the same machine.
        for (auto& samples : *all) co_await time_spawn(spawner, &samples);
        bwrap->push_back(time_peer(bare_bwrap(programs()), false));
    }
    for (auto& samples : *all) co_await weigh(spawner, &samples);
}

asio::awaitable<void> close(Spawner* spawner, Gatekeeper* gatekeeper) {
    co_await spawner->close();
    co_await gatekeeper->close();
}

void run_to_end(asio::io_context& io, asio::awaitable<void> task) {
    std::exception_ptr failed;
    auto on_done = [&](const std::exception_ptr& error) { failed = error; };
    asio::co_spawn(io, std::move(task), on_done);
    io.restart();
    io.run();
    if (failed) std::rethrow_exception(failed);
}

/// Bare bwrap from so many threads at once; a thread each, because each waits for its child.
double bwrap_rate(int workers) {
    const auto start = Clock::now();
    std::vector<std::jthread> threads;
    for (int i = 0; i < workers; ++i) {
        threads.emplace_back([workers] {
            for (int n = 0; n < kBatch / workers; ++n)
                (void)time_peer(bare_bwrap(programs()), true);
        });
    }
    threads.clear();
    return kBatch / seconds_since(start);
}

/// A peer and what it gave.
struct Row {
    Peer peer;
    std::vector<double> times;
    std::string why;  ///< there are none
};

struct Report {
    std::vector<Samples> cages{Samples(CageBackend::bwrap), Samples(CageBackend::native)};
    std::vector<double> bwrap;
    double bwrap_per_s_1 = 0, bwrap_per_s_2 = 0;
    std::vector<double> podman;  ///< cages of that back end
    std::string no_podman;       ///< why there are none
    std::vector<Row> peers;
};

void run_quietly(const std::vector<std::string>& argv) {
    const UniqueFd quiet(::open("/dev/null", O_RDWR | O_CLOEXEC));
    ChildSpec child;
    child.argv = argv;
    for (int to = 0; to <= 2; ++to) child.fds.emplace_back(quiet.get(), to);
    Child running = Child::spawn(child);
    pollfd ended{running.pidfd(), POLLIN, 0};
    while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
}

void measure_peers(Report& report) {
    for (auto& peer : other_peers()) {
        Row row;
        row.why = "not installed";
        try {
            for (int i = 0; i < kPeerRounds && !peer.argv.empty(); ++i)
                row.times.push_back(time_peer(peer, false));
        } catch (const std::exception& error) {
            row.times.clear();
            row.why = error.what();
        }
        if (!peer.after.empty()) run_quietly(peer.after);
        row.peer = std::move(peer);
        report.peers.push_back(std::move(row));
    }
}

/// The slow back end, in a few rounds of its own.
asio::awaitable<void> measure_podman(Spawner* spawner, Report* report) {
    Samples samples(CageBackend::podman);
    try {
        for (int i = 0; i < kPeerRounds; ++i) co_await time_spawn(spawner, &samples);
        report->podman = std::move(samples.spawn);
    } catch (const Error& error) {
        report->no_podman = error.what();
    }
}

void measure(Report& report) {
    asio::io_context io;
    Gatekeeper gatekeeper(io.get_executor(), {}, {});
    Spawner spawner(io.get_executor(), programs(), gatekeeper, {});
    auto latency = measure_latency(&spawner, &report.cages, &report.bwrap);
    std::exception_ptr failed;
    bool done = false;
    auto on_done = [&](const std::exception_ptr& error) {
        failed = error;
        done = true;
    };
    asio::co_spawn(io, std::move(latency), on_done);
    while (!done && io.run_one() > 0) {
    }
    if (failed) std::rethrow_exception(failed);
    run_to_end(io, measure_podman(&spawner, &report));
    for (auto& samples : report.cages) {
        measure_rate(io, spawner, samples.backend, 1, samples.per_s_1);
        measure_rate(io, spawner, samples.backend, 2, samples.per_s_2);
    }
    run_to_end(io, close(&spawner, &gatekeeper));
    report.bwrap_per_s_1 = bwrap_rate(1);
    report.bwrap_per_s_2 = bwrap_rate(2);
    measure_peers(report);
}

void print_figure(const std::string& name, const std::vector<double>& times) {
    if (times.empty()) std::printf(",\"%s_p50_ms\":null", name.c_str());
    if (!times.empty()) std::printf(",\"%s_p50_ms\":%.1f", name.c_str(), median(times));
}

void print_row(const std::string& name, const std::vector<double>& times, const std::string& why) {
    if (times.empty()) std::printf("%-24s %s\n", name.c_str(), why.c_str());
    if (!times.empty())
        std::printf("%-24s %8.2f %8.2f\n", name.c_str(), median(times), percentile(times, 0.95));
}

void print_json(const Report& report) {
    const auto& bwrap = report.cages[0];
    const auto& native = report.cages[1];
    const double bare = median(report.bwrap);
    std::printf(
        "{\"spawn_p50_ms\":%.3f,\"spawn_p95_ms\":%.3f,\"native_p50_ms\":%.3f,"
        "\"native_p95_ms\":%.3f,\"bwrap_p50_ms\":%.3f,\"bwrap_p95_ms\":%.3f,"
        "\"spawn_ratio\":%.3f,\"native_ratio\":%.3f,\"net_setup_p50_ms\":%.3f,",
        median(bwrap.spawn), percentile(bwrap.spawn, 0.95), median(native.spawn),
        percentile(native.spawn, 0.95), bare, percentile(report.bwrap, 0.95),
        median(bwrap.spawn) / bare, median(native.spawn) / bare, median(bwrap.net)
    );
    std::printf(
        "\"spawn_1_per_s\":%.0f,\"spawn_2_per_s\":%.0f,\"native_1_per_s\":%.0f,"
        "\"native_2_per_s\":%.0f,\"bwrap_1_per_s\":%.0f,\"bwrap_2_per_s\":%.0f,"
        "\"spawn_idle_kb\":%.0f,\"native_idle_kb\":%.0f",

        bwrap.per_s_1, bwrap.per_s_2, native.per_s_1, native.per_s_2, report.bwrap_per_s_1,
        report.bwrap_per_s_2, bwrap.idle_kb, native.idle_kb
    );
    print_figure("cage_podman", report.podman);
    for (const auto& row : report.peers) print_figure(row.peer.name, row.times);
    std::puts("}");
}

void print_argv(const Peer& peer) {
    std::printf("  ");
    for (const auto& word : peer.argv) std::printf(" %s", word.c_str());
    std::puts("");
}

void print_cages(const Samples& samples, double bare, double budget) {
    std::printf(
        "cage, backend %-10s %8.2f %8.2f   %.2f of bare bwrap (budget %.2f); %.0f and %.0f a "
        "second "
        "with 1 and 2 workers; network %.2f ms; idle %.0f KB\n",
        std::string(to_string(samples.backend)).c_str(), median(samples.spawn),
        percentile(samples.spawn, 0.95), median(samples.spawn) / bare, budget, samples.per_s_1,
        samples.per_s_2, median(samples.net), samples.idle_kb
    );
}

void print_table(const Report& report) {
    const double bare = median(report.bwrap);
    std::printf("start to first byte           p50 ms   p95 ms\n");
    print_cages(report.cages[0], bare, 1.5);
    print_cages(report.cages[1], bare, 0.75);
    std::printf(
        "%-24s %8.2f %8.2f   %.0f and %.0f a second\n", "bare bwrap, same binds", bare,
        percentile(report.bwrap, 0.95), report.bwrap_per_s_1, report.bwrap_per_s_2
    );
    print_argv(bare_bwrap(programs()));
    print_row("cage, backend podman", report.podman, report.no_podman);
    for (const auto& row : report.peers) {
        print_row(row.peer.name, row.times, row.why);
        if (!row.peer.argv.empty()) print_argv(row.peer);
    }
}

}  // namespace

int main(int argc, char** argv) {
    try {
        Report report;
        measure(report);
        if (argc > 1 && std::strcmp(argv[1], "--json") == 0)
            print_json(report);
        else
            print_table(report);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "spawn_bench: %s\n", error.what());
        return 1;
    }
}
