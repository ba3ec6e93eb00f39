// SPDX-License-Identifier: Apache-2.0
// Cages that outlive who started them: a second spawner stands for the next daemon.
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/task_scope.hpp"
#include "cage/found.hpp"
#include "tests/cage/spawn_fixture.hpp"

#include <csignal>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;

namespace {

/// The next daemon: another spawner and gatekeeper on the same loop.
struct Next {
    explicit Next(Aviary& aviary)
        : gatekeeper(aviary.io.get_executor(), {}, {}),
          spawner(aviary.io.get_executor(), programs(), gatekeeper, {}) {}

    Gatekeeper gatekeeper;
    Spawner spawner;
};

asio::awaitable<void> close_next(Next* next) {
    co_await next->spawner.close();
    co_await next->gatekeeper.close();
}

SpawnRequest kept(const Aviary& aviary, const std::string& script) {
    auto out = aviary.request({"/bin/sh", "-c", script});
    const auto folder =
        aviary.folder.parent_path() / (aviary.folder.filename().string() + "-shims");
    std::filesystem::create_directory(folder);
    out.keep = KeepCage{.folder = folder, .owner = "whose it is"};
    return out;
}

asio::awaitable<std::string> read_to(Cage* cage, Stream stream, std::string wanted) {
    std::string out;
    while (out.find(wanted) == std::string::npos) {
        auto piece = co_await cage->streams().read(stream);
        if (!piece) break;
        out += piece->bytes;
    }
    co_return out;
}

asio::awaitable<void> pause_for(std::chrono::milliseconds time) {
    asio::steady_timer timer(co_await asio::this_coro::executor, time);
    co_await timer.async_wait(as_result);
}

/// A cage whose daemon is gone as soon as it runs.
asio::awaitable<std::shared_ptr<Cage>> leave(Aviary* aviary, SpawnRequest request) {
    auto cage = co_await aviary->spawner.spawn(std::move(request));
    aviary->spawner.leave_kept();
    co_return cage;
}

bool is_alive(pid_t pid) { return ::kill(pid, 0) == 0; }

/// Waits until `pid` is gone: at most 5 s.
asio::awaitable<bool> gone(pid_t pid) {
    for (int i = 0; i < 500 && is_alive(pid); ++i)
        co_await pause_for(std::chrono::milliseconds(10));
    co_return !is_alive(pid);
}

}  // namespace

TEST_CASE("a kept cage is spoken to through its shim", "[keep]") {
    Aviary aviary;
    auto work = [](Aviary* all) -> asio::awaitable<void> {
        auto cage = co_await all->spawner.spawn(
            kept(*all, "read line; echo \"heard $line\"; echo oops >&2; exit 3")
        );
        co_await cage->streams().write("hello\n", "first", true);
        const auto out = co_await read_to(cage.get(), Stream::out, "nothing");
        CHECK(out == "heard hello\n");
        const auto err = co_await read_to(cage.get(), Stream::err, "nothing");
        CHECK(err == "oops\n");
        const auto exit = co_await cage->wait();
        CHECK(exit.status.code == 3);
        const auto shim = cage->report().shim_pid;
        CHECK(is_alive(shim));
        cage->release();
        const bool ended = co_await gone(shim);
        CHECK(ended);
    };
    aviary.await(work(&aviary));
}

TEST_CASE("the next daemon goes on where the last one was", "[keep]") {
    Aviary aviary;
    Next next(aviary);
    auto work = [](Aviary* all, Next* after) -> asio::awaitable<void> {
        auto request = kept(
            *all, "echo one; read a; echo got $a; read b; echo got $b; sleep 0.2; echo last; exit 4"
        );
        const auto folder = request.keep->folder;
        auto cage = co_await all->spawner.spawn(std::move(request));
        const auto runner = cage->report().runner_pid;
        auto out = co_await read_to(cage.get(), Stream::out, "one\n");
        cage->streams().ack(Stream::out, 4);
        co_await cage->streams().write("x\n", "tag-x", true);
        out = co_await read_to(cage.get(), Stream::out, "got x\n");
        all->spawner.leave_kept();
        CHECK(is_alive(runner));

        auto found = co_await after->spawner.find_kept(folder);
        REQUIRE(found.size() == 1);
        CHECK(found[0]->record.owner == "whose it is");
        CHECK(found[0]->state.streams[0].base == 4);
        CHECK(found[0]->state.tags == std::vector<std::string>{"tag-x"});
        auto adopted = after->spawner.adopt(std::move(found[0]));
        CHECK(adopted->report().runner_pid == runner);
        CHECK(adopted->alone().has_value());
        CHECK_FALSE(adopted->ended_alone());
        adopted->start_at(Stream::out, 4);
        co_await adopted->streams().write("x\n", "tag-x", true);  // was taken: nothing happens
        co_await adopted->streams().write("y\n", "tag-y", true);
        out = co_await read_to(adopted.get(), Stream::out, "nothing");
        CHECK(out == "got x\ngot y\nlast\n");
        const auto exit = co_await adopted->wait();
        CHECK(exit.status.code == 4);
        adopted->release();
        // The spawner waits for a shim that was told to go.
        co_await after->spawner.close();
        CHECK(std::filesystem::is_empty(folder));
    };
    aviary.await(work(&aviary, &next));
    aviary.await(close_next(&next));
}

TEST_CASE("how a cage ended while nobody was there is told to who comes", "[keep]") {
    Aviary aviary;
    Next next(aviary);
    auto work = [](Aviary* all, Next* after) -> asio::awaitable<void> {
        auto request = kept(*all, "read a; echo bye; exit 7");
        const auto folder = request.keep->folder;
        auto cage = co_await all->spawner.spawn(std::move(request));
        const auto runner = cage->report().runner_pid;
        co_await cage->streams().write("go\n", "go", false);
        all->spawner.leave_kept();
        const bool ended = co_await gone(runner);
        CHECK(ended);
        // The shim hears of the end a moment after the kernel does.
        std::vector<Spawner::FoundPtr> found;
        for (int i = 0; i < 500; ++i) {
            found.clear();
            found = co_await after->spawner.find_kept(folder);
            if (!found.empty() && found[0]->state.exited) break;
            co_await pause_for(std::chrono::milliseconds(10));
        }
        REQUIRE(found.size() == 1);
        auto adopted = after->spawner.adopt(std::move(found[0]));
        CHECK(adopted->ended_alone());
        const auto exit = co_await adopted->wait();
        CHECK(exit.status.code == 7);
        const auto out = co_await read_to(adopted.get(), Stream::out, "nothing");
        CHECK(out == "bye\n");
        adopted->release();
    };
    aviary.await(work(&aviary, &next));
    aviary.await(close_next(&next));
}

TEST_CASE("a cage that nobody wants is ended", "[keep]") {
    Aviary aviary;
    Next next(aviary);
    auto work = [](Aviary* all, Next* after) -> asio::awaitable<void> {
        auto request = kept(*all, "sleep 60 & sleep 60");
        const auto folder = request.keep->folder;
        const auto cage = co_await leave(all, std::move(request));
        const auto runner = cage->report().runner_pid;
        auto found = co_await after->spawner.find_kept(folder);
        REQUIRE(found.size() == 1);
        after->spawner.dismiss(std::move(found[0]));
        const bool ended = co_await gone(runner);
        CHECK(ended);
        CHECK(std::filesystem::is_empty(folder));
    };
    aviary.await(work(&aviary, &next));
    aviary.await(close_next(&next));
}

TEST_CASE("a cage alone ends after its time", "[keep]") {
    Aviary aviary;
    auto work = [](Aviary* all) -> asio::awaitable<void> {
        auto request = kept(*all, "sleep 60");
        request.keep->orphan_ttl = std::chrono::seconds(1);
        const auto cage = co_await leave(all, std::move(request));
        const auto runner = cage->report().runner_pid;
        const auto shim = cage->report().shim_pid;
        const bool ended = co_await gone(runner);
        CHECK(ended);
        // It is our child, of which nobody but us hears now.
        int left = 0;
        for (int i = 0; i < 500 && left == 0; ++i) {
            left = ::waitpid(shim, nullptr, WNOHANG);
            co_await pause_for(std::chrono::milliseconds(10));
        }
        CHECK(left == shim);
    };
    aviary.await(work(&aviary));
}

TEST_CASE("strange and stale sockets among the shims are no cages", "[keep]") {
    Aviary aviary;
    auto work = [](Aviary* all) -> asio::awaitable<void> {
        const auto folder = all->folder / "shims";
        std::filesystem::create_directory(folder);
        const auto bind_at = [&](const char* name) {
            UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            const auto path = (folder / name).string();
            path.copy(address.sun_path, sizeof address.sun_path - 1);
            const auto* raw = reinterpret_cast<const sockaddr*>(&address);
            REQUIRE(::bind(socket.get(), raw, sizeof address) == 0);
            return socket;
        };
        (void)bind_at("stale.sock");
        const auto stranger = bind_at("stranger.sock");
        REQUIRE(::listen(stranger.get(), 1) == 0);
        const auto other = bind_at("newer.sock");
        REQUIRE(::listen(other.get(), 1) == 0);
        write_file(folder / "a file.sock", "no socket");
        auto answer = [](int listener, std::string frame) -> asio::awaitable<void> {
            for (int i = 0; i < 200; ++i) {
                UniqueFd peer(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
                if (peer) {
                    // What was sent can be read after the end of who sent it.
                    (void)send_packet(peer.get(), frame);
                    co_return;
                }
                co_await pause_for(std::chrono::milliseconds(10));
            }
        };
        for (const int listener : {stranger.get(), other.get()})
            REQUIRE(::fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
        TaskScope strangers(all->io.get_executor(), {});
        strangers.spawn("stranger", answer(stranger.get(), "nonsense"));
        strangers.spawn("newer", answer(other.get(), std::string("\x63\x47", 2)));
        const auto found = co_await all->spawner.find_kept(folder);
        CHECK(found.empty());
        CHECK_FALSE(std::filesystem::exists(folder / "stale.sock"));
        CHECK(std::filesystem::exists(folder / "stranger.sock"));
        CHECK(std::filesystem::exists(folder / "newer.sock"));
        co_await strangers.close();
    };
    aviary.await(work(&aviary));
}
