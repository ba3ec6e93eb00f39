// SPDX-License-Identifier: Apache-2.0
#include "tests/cage/spawn_fixture.hpp"

#include "base/clock.hpp"
#include "base/error.hpp"

#include <array>
#include <cstdlib>
#include <fstream>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>

namespace volary::cage::test {
namespace {

std::filesystem::path make_folder() {
    auto pattern = (std::filesystem::temp_directory_path() / "volary-cage-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp", pattern);
    return pattern;
}

asio::awaitable<void> collect(Spawner* spawner, SpawnRequest request, Outcome* outcome) {
    auto cage = co_await spawner->spawn(std::move(request));
    cage->take_stdin();
    outcome->report = cage->report();
    outcome->out = co_await read_all(cage->take_stdout());
    outcome->err = co_await read_all(cage->take_stderr());
    outcome->exit = co_await cage->wait();
}

asio::awaitable<void> close_all(Spawner* spawner, Gatekeeper* gatekeeper) {
    co_await spawner->close();
    co_await gatekeeper->close();
}

}  // namespace

SpawnerPaths programs() {
    auto paths = find_programs();
    std::filesystem::path folder;
    if (const char* bin = std::getenv("VOLARY_BIN"); bin != nullptr) {
        folder = bin;
    } else {
        folder = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../../bin";
    }
    paths.shim = std::filesystem::absolute(folder / "volary-shim").lexically_normal();
    paths.init = std::filesystem::absolute(folder / "volary-init").lexically_normal();
    return paths;
}

CageBackend backend() {
    const char* name = std::getenv("VOLARY_CAGE_BACKEND");
    for (const auto one : {CageBackend::native, CageBackend::podman, CageBackend::firejail})
        if (name != nullptr && name == to_string(one)) return one;
    return CageBackend::bwrap;
}

asio::awaitable<std::string> read_all(UniqueFd stream) {
    std::string out;
    if (!stream) co_return out;
    asio::posix::stream_descriptor reader(co_await asio::this_coro::executor, stream.release());
    co_await asio::async_read(reader, asio::dynamic_buffer(out), as_result);
    co_return out;
}

Aviary::Aviary()
    : folder(make_folder()),
      gatekeeper(io.get_executor(), {}, {}),
      spawner(
          io.get_executor(), programs(), gatekeeper,
          {[this](CageId, std::string limit, std::string) {
               limits_told.push_back(std::move(limit));
           },
           [this](CageId, Denial denial) { denials.push_back(std::move(denial)); }}
      ) {}

Aviary::~Aviary() {
    await(close_all(&spawner, &gatekeeper));
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
}

SpawnRequest Aviary::request(std::vector<std::string> argv) const {
    SpawnRequest out;
    out.id = CageId::make(SystemClock());
    out.policy.workspace = folder;
    out.policy.backend = backend();
    out.argv = std::move(argv);
    return out;
}

Outcome Aviary::shell(const std::string& script) { return run(request({"/bin/sh", "-c", script})); }

Outcome Aviary::run(SpawnRequest request) {
    Outcome outcome;
    await(collect(&spawner, std::move(request), &outcome));
    return outcome;
}

std::string Aviary::refusal(SpawnRequest request) {
    try {
        (void)run(std::move(request));
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

void Aviary::await(asio::awaitable<void> task) {
    std::exception_ptr failed;
    bool done = false;
    auto on_done = [&](const std::exception_ptr& error) {
        failed = error;
        done = true;
    };
    asio::co_spawn(io, std::move(task), on_done);
    io.restart();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done && io.run_one_until(end) > 0) {
    }
    if (!done) throw Error(Errc::timeout, "the test's task did not end");
    if (failed) std::rethrow_exception(failed);
}

void write_file(const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
}

std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace volary::cage::test
