// SPDX-License-Identifier: Apache-2.0
// Cage spawn against bare bwrap with the same binds and namespaces, in one run.
// Each sample: from the start to the first byte that the runner writes.
#include "base/clock.hpp"
#include "base/error.hpp"
#include "cage/cage.hpp"
#include "cage/compiler.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/spawner.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace {

using namespace volary;
using namespace volary::cage;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 60;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0.0 : values[values.size() / 2];
}

struct Samples {
    std::vector<double> spawn, bwrap, net;
};

CagePolicy sample_policy() {
    CagePolicy policy;
    policy.net = {{NetRule::Kind::name, "a.example", 443, false, "", "a.example:443"}};
    return policy;
}

/// VOLARY_BIN, or ../../bin beside this program.
SpawnerPaths programs() {
    auto paths = find_programs();
    const char* bin = std::getenv("VOLARY_BIN");
    auto folder = bin != nullptr ? std::string(bin) : paths.shim.substr(0, paths.shim.rfind('/'));
    if (bin == nullptr) folder = std::filesystem::canonical(folder + "/../../bin");
    paths.shim = folder + "/volary-shim";
    paths.init = folder + "/volary-init";
    return paths;
}

UniqueFd memory_file(const std::string& bytes) {
    UniqueFd file(::memfd_create("bench", 0));
    if (::write(file.get(), bytes.data(), bytes.size()) < 0) throw_errno("write");
    ::lseek(file.get(), 0, SEEK_SET);
    return file;
}

/// Our own argument list with descriptors in place, `--unshare-net` instead of the shim's
/// namespace, and without volary-init.
double time_bwrap(const SpawnerPaths& paths) {
    CageSpec spec;
    spec.policy = sample_policy();
    spec.argv = {"/bin/echo"};
    spec.init = paths.init;
    const auto compiled = compile(spec, RealHost());
    auto sources = open_sources(compiled.sources);
    std::vector<UniqueFd> data;
    ChildSpec child;
    child.argv = {paths.bwrap, "--unshare-net"};
    int next = 3;
    const auto give = [&](int fd) {
        child.fds.emplace_back(fd, next);
        return std::to_string(next++);
    };
    for (const auto& word : compiled.options) {
        if (word.kind == wire::Argument::Kind::text) child.argv.push_back(word.text);
        if (word.kind == wire::Argument::Kind::fd)
            child.argv.push_back(give(sources[word.index - first_source_index(spec)].get()));
        if (word.kind == wire::Argument::Kind::data) {
            data.push_back(memory_file(compiled.data[word.index]));
            child.argv.push_back(give(data.back().get()));
        }
    }
    child.argv.insert(child.argv.end(), {"--", "/bin/echo"});
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) throw_errno("pipe");
    const UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    child.fds.emplace_back(writer.get(), 1);
    child.fds.emplace_back(STDERR_FILENO, 2);
    const auto start = Clock::now();
    Child running = Child::spawn(child);
    writer.reset();
    char byte = 0;
    if (::read(reader.get(), &byte, 1) != 1) throw Error(Errc::io, "bare bwrap did not run");
    return ms_since(start);
}

asio::awaitable<void> time_spawn(Spawner* spawner, Samples* samples) {
    SpawnRequest request;
    request.id = CageId::make(SystemClock());
    request.policy = sample_policy();
    request.argv = {"/bin/echo"};
    const auto start = Clock::now();
    auto cage = co_await spawner->spawn(std::move(request));
    asio::posix::stream_descriptor out(
        co_await asio::this_coro::executor, cage->take_stdout().release()
    );
    char byte = 0;
    co_await out.async_read_some(asio::buffer(&byte, 1), asio::use_awaitable);
    samples->spawn.push_back(ms_since(start));
    samples->net.push_back(static_cast<double>(cage->report().net_setup.count()) / 1000.0);
    co_await cage->wait();
}

asio::awaitable<void> measure(Spawner* spawner, Gatekeeper* gatekeeper, Samples* samples) {
    const auto paths = programs();
    for (int round = 0; round < kRounds; ++round) {
        // In turns, so that both see the same machine.
        co_await time_spawn(spawner, samples);
        samples->bwrap.push_back(time_bwrap(paths));
    }
    co_await spawner->close();
    co_await gatekeeper->close();
}

void print(const Samples& samples, bool json) {
    const double spawn = median(samples.spawn);
    const double bwrap = median(samples.bwrap);
    const double net = median(samples.net);
    if (json) {
        std::printf(
            "{\"spawn_p50_ms\":%.3f,\"bwrap_p50_ms\":%.3f,\"spawn_ratio\":%.3f,"
            "\"net_setup_p50_ms\":%.3f}\n",
            spawn, bwrap, spawn / bwrap, net
        );
        return;
    }
    std::printf("cage spawn to first byte of the runner  %8.2f ms\n", spawn);
    std::printf("bare bwrap, same binds and namespaces   %8.2f ms\n", bwrap);
    std::printf("ratio (budget 1.6)                      %8.2f\n", spawn / bwrap);
    std::printf("network set-up (budget 2 ms)            %8.2f ms\n", net);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        asio::io_context io;
        Samples samples;
        Gatekeeper gatekeeper(io.get_executor(), {}, {});
        auto paths = programs();
        Spawner spawner(io.get_executor(), paths, gatekeeper, {});
        std::exception_ptr failed;
        auto on_done = [&](const std::exception_ptr& error) { failed = error; };
        asio::co_spawn(io, measure(&spawner, &gatekeeper, &samples), on_done);
        io.run();
        if (failed) std::rethrow_exception(failed);
        print(samples, argc > 1 && std::strcmp(argv[1], "--json") == 0);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "spawn_bench: %s\n", error.what());
        return 1;
    }
}
