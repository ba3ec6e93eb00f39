// SPDX-License-Identifier: Apache-2.0
// Real cages: needs bwrap, the built programs and an ordinary user.
#include "base/error.hpp"
#include "cage/processes.hpp"
#include "tests/cage/spawn_fixture.hpp"

#include <csignal>
#include <fstream>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Catch::Contains;

namespace {

std::string own_namespace(const std::string& kind) {
    return std::filesystem::read_symlink("/proc/self/ns/" + kind);
}

asio::awaitable<std::string> read_line(asio::posix::stream_descriptor* stream) {
    std::string out;
    char c = 0;
    while (true) {
        const auto [error, size] = co_await stream->async_read_some(asio::buffer(&c, 1), as_result);
        if (error || size == 0 || c == '\n') break;
        out.push_back(c);
    }
    co_return out;
}

}  // namespace

TEST_CASE("the exit status of the runner is passed through", "[cage]") {
    Aviary aviary;
    const auto outcome = aviary.shell("echo out; echo err >&2; exit 7");
    CHECK(outcome.exit.status == ExitStatus{7, 0});
    CHECK(outcome.exit.reason == "exited");
    CHECK(outcome.out == "out\n");
    CHECK(outcome.err == "err\n");
    CHECK(aviary.run(aviary.request({"/bin/true"})).exit.status.ok());
    CHECK(aviary.shell("kill -KILL $$").exit.status.shell_code() == 128 + SIGKILL);
}

TEST_CASE("a caged process is nobody outside of its own namespaces", "[cage]") {
    Aviary aviary;
    const auto outcome = aviary.shell(
        "id -u; hostname; grep -h ^Cap /proc/self/status; grep NoNewPrivs /proc/self/status; "
        "for n in user pid ipc uts cgroup net mnt; do readlink /proc/self/ns/$n; done"
    );
    INFO(outcome.err);
    CHECK_THAT(outcome.out, Contains("1000\ncage\n"));
    CHECK_THAT(outcome.out, Contains("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"));
    CHECK_THAT(outcome.out, Contains("NoNewPrivs:\t1"));
    for (const char* kind : {"user", "pid", "ipc", "uts", "cgroup", "net", "mnt"})
        CHECK_THAT(outcome.out, !Contains(own_namespace(kind)));
}

TEST_CASE("what no rule binds is absent", "[cage]") {
    Aviary aviary;
    const auto outcome = aviary.shell(
        "for p in /etc/shadow /etc/machine-id /root /var/lib; do test -e $p && echo $p; done; "
        "find /sys /run -mindepth 1 ! -name .containerenv 2>/dev/null; "
        "ls /home; touch /usr/x /etc/x /x /dev/x /.volary/x 2>/dev/null && echo wrote; true"
    );
    CHECK(outcome.out == "agent\n");
}

TEST_CASE("the workspace is writable, its protected files are not", "[cage]") {
    Aviary aviary;
    write_file(aviary.folder / ".git/hooks/pre-commit", "old");
    write_file(aviary.folder / ".git/config", "old");
    write_file(aviary.folder / ".volary/project.yaml", "old");
    const auto outcome = aviary.shell(
        "echo new > made; echo x > .git/objects-ok; "
        "for f in .git/hooks/pre-commit .git/config .volary/project.yaml .git/hooks/new; do "
        "echo bad > $f; done 2>/dev/null; mv .git moved 2>/dev/null; mv .volary moved 2>/dev/null; "
        "rm -rf .volary 2>/dev/null; ls -d .git .volary"
    );
    INFO(outcome.err);
    CHECK(outcome.out == ".git\n.volary\n");
    CHECK(read_file(aviary.folder / "made") == "new\n");
    CHECK(read_file(aviary.folder / ".git/hooks/pre-commit") == "old");
    CHECK(read_file(aviary.folder / ".git/config") == "old");
    CHECK(read_file(aviary.folder / ".volary/project.yaml") == "old");
    CHECK_FALSE(std::filesystem::exists(aviary.folder / ".git/hooks/new"));
}

TEST_CASE("rules bind, protect and hide", "[cage]") {
    Aviary aviary;
    write_file(aviary.folder / "data/kept", "kept");
    write_file(aviary.folder / "secret/key", "key");
    write_file(aviary.folder / "token", "token");
    const auto root = aviary.folder.string();
    auto request = aviary.request(
        {"/bin/sh", "-c",
         "cat data/kept; echo x > data/kept 2>/dev/null; ls secret; cat token; "
         "echo y > /scratch/y && cat /scratch/y; echo z > /out/z"}
    );
    std::filesystem::create_directories(aviary.folder / "out");
    request.policy.fs = {
        {root + "/data", root, FsMode::ro, "/workspace/data"},
        {"", "", FsMode::hide, "/workspace/secret"},
        {"", "", FsMode::hide, "/workspace/token"},
        {"", "", FsMode::tmp, "/scratch"},
        {root + "/out", root, FsMode::rw, "/out"},
    };
    const auto outcome = aviary.run(std::move(request));
    INFO(outcome.err);
    CHECK(outcome.out == "kepty\n");
    CHECK(read_file(aviary.folder / "data/kept") == "kept");
    CHECK(read_file(aviary.folder / "out/z") == "z\n");
}

TEST_CASE("a source that leaves its root or is missing refuses the cage", "[cage]") {
    Aviary aviary;
    const auto root = aviary.folder.string();
    std::filesystem::create_symlink("/etc", aviary.folder / "leak");
    // Also one within the root: somebody who writes there would choose what is bound.
    std::filesystem::create_directories(aviary.folder / ".git/hooks");
    std::filesystem::create_symlink(".git/hooks", aviary.folder / "out");
    auto request = aviary.request({"/bin/true"});
    for (const auto* path : {"/leak", "/leak/ssl", "/out"}) {
        request.policy.fs = {{root + path, root, FsMode::rw, "/leak"}};
        CHECK_THAT(aviary.refusal(request), Contains("fs[0]") && Contains("symbolic link"));
    }
    request.policy.fs = {{root + "/absent", root, FsMode::ro, "/absent"}};
    CHECK_THAT(aviary.refusal(request), Contains("fs[0]") && Contains("No such file"));
    request.policy.fs = {{"", "", FsMode::tmp, "/workspace/leak/x"}};
    CHECK_THAT(aviary.refusal(request), Contains("symbolic link"));
    request.policy.fs.clear();
    request.argv = {"/no/such/program"};
    CHECK_THAT(aviary.refusal(request), Contains("execute \"/no/such/program\""));
}

TEST_CASE("nothing but the allowlist is reachable", "[cage]") {
    Aviary aviary;
    const auto outcome = aviary.run(aviary.request({"/usr/bin/python3", "-c", R"(
import socket
for family, address in ((socket.AF_INET, '1.1.1.1'), (socket.AF_INET6, '2606:4700::1111')):
    try:
        socket.create_connection((address, 80), 3)
        print('connected')
    except ConnectionRefusedError:
        print('refused')
)"}));
    INFO(outcome.err);
    CHECK(outcome.out == "refused\nrefused\n");
}

TEST_CASE("an allowed name has an address inside, another has none", "[cage]") {
    Aviary aviary;
    auto request =
        aviary.request({"/bin/sh", "-c", "getent ahosts a.example; getent hosts b.example"});
    request.policy.net = {{NetRule::Kind::name, "a.example", 443, false, "", "a.example:443"}};
    request.internal_names = {"volary.internal"};
    const auto outcome = aviary.run(std::move(request));
    INFO(outcome.err);
    CHECK_THAT(outcome.out, Contains("198.18.") && Contains("fd76:") && Contains("a.example"));
    CHECK_THAT(outcome.out, !Contains("b.example"));
}

TEST_CASE("no descriptor leaks into a cage, the signal pipe is 3", "[cage]") {
    Aviary aviary;
    const std::string script =
        "import os; print(sorted(int(f) for f in os.listdir('/proc/self/fd')))";
    auto outcome = aviary.run(aviary.request({"/usr/bin/python3", "-c", script}));
    // The last one is the listing itself.
    CHECK(outcome.out == "[0, 1, 2, 3]\n");
    auto request = aviary.request({"/usr/bin/python3", "-c", script});
    request.signal_pipe = true;
    CHECK(aviary.run(std::move(request)).out == "[0, 1, 2, 3, 4]\n");
}

TEST_CASE("refused system calls fail in the cage", "[cage]") {
    Aviary aviary;
    const auto outcome = aviary.run(aviary.request({"/usr/bin/python3", "-c", R"(
import ctypes, errno, socket, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    rc = libc.syscall(*args)
    print(name, errno.errorcode.get(ctypes.get_errno(), 'allowed') if rc < 0 else 'allowed')
call('mount', 165, 0, 0, 0, 0, 0)
call('unshare', 272, 0x10000000)
call('clone newuser', 56, 0x10000011, 0, 0, 0, 0)
call('clone3', 435, 0, 0)
call('keyctl', 250, 0, 0)
call('bpf', 321, 0, 0, 0)
call('ptrace', 101, 0, 0, 0, 0)
call('io_uring_setup', 425, 1, 0)
call('userfaultfd', 323, 0)
call('open_tree', 428, -100, 0, 0)
call('vsock', 41, 40, 1, 0)
call('vsock high bits', 41, ctypes.c_ulong((1 << 32) | 40), 1, 0)
call('packet', 41, 17, 3, 0)
call('netlink audit', 41, 16, 3, 9)
call('tiocsti', 16, 0, ctypes.c_ulong(0x5412), 0)
call('tiocsti high bits', 16, 0, ctypes.c_ulong(0x100005412), 0)
call('tioclinux', 16, 0, ctypes.c_ulong(0x541c), 0)
call('personality', 135, 0x0040000)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); socket.socket(socket.AF_UNIX)
print('ok')
)"}));
    INFO(outcome.err);
    const auto refused = [&](const std::string& line) {
        CHECK_THAT(outcome.out, Contains(line + "\n"));
    };
    for (const char* name :
         {"mount", "unshare", "clone newuser", "keyctl", "bpf", "ptrace", "io_uring_setup",
          "userfaultfd", "open_tree", "tiocsti", "tiocsti high bits", "tioclinux", "personality"})
        refused(std::string(name) + " EPERM");
    refused("clone3 ENOSYS");
    for (const char* name : {"vsock", "vsock high bits", "packet", "netlink audit"})
        refused(std::string(name) + " EAFNOSUPPORT");
    refused("ok");
}

namespace {

asio::awaitable<void> start_and_stop(Aviary* aviary, std::size_t* before, std::size_t* after) {
    auto request = aviary->request({"/usr/bin/python3", "-c", R"(
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print('up', flush=True)
        while True: time.sleep(60)
    os._exit(0)
while True: time.sleep(60)
)"});
    auto cage = co_await aviary->spawner.spawn(std::move(request));
    asio::posix::stream_descriptor out(aviary->io, cage->take_stdout().release());
    co_await read_line(&out);
    const auto space = pid_namespace(cage->report().runner_pid);
    *before = cage->processes().size();
    co_await cage->stop(std::chrono::milliseconds(50));
    *after = processes_in(space).size();
    const auto exit = co_await cage->wait();
    CHECK(exit.reason == "stopped");
}

asio::awaitable<void> freeze_and_thaw(Aviary* aviary, std::string* states) {
    auto cage = co_await aviary->spawner.spawn(aviary->request({"/bin/cat"}));
    const auto state = [&] {
        ProcessState now;
        parse_stat(read_file("/proc/" + std::to_string(cage->report().runner_pid) + "/stat"), now);
        return now.state;
    };
    co_await cage->freeze();
    *states += state();
    co_await cage->thaw();
    co_await cage->stop(std::chrono::milliseconds(1000));
    const auto exit = co_await cage->wait();
    *states += exit.status.shell_code() == 128 + SIGTERM ? '+' : '-';
}

asio::awaitable<void> spawn_and_leave(Aviary* aviary, pid_t* runner) {
    auto cage = co_await aviary->spawner.spawn(aviary->request({"/bin/sleep", "1000"}));
    *runner = cage->report().runner_pid;
}

}  // namespace

TEST_CASE(
    "stop ends a child that ignores SIGTERM, forked twice and has its own session", "[cage]"
) {
    Aviary aviary;
    std::size_t before = 0;
    std::size_t after = 1;
    aviary.await(start_and_stop(&aviary, &before, &after));
    // bwrap's init, the runner, its grandchild; the child between may not have gone yet.
    CHECK(before >= 3);
    CHECK(after == 0);
}

TEST_CASE("a frozen cage stands still and can still be stopped", "[cage]") {
    Aviary aviary;
    std::string states;
    aviary.await(freeze_and_thaw(&aviary, &states));
    CHECK(states == "T+");
}

TEST_CASE("limits end a cage and are told", "[cage]") {
    Aviary aviary;
    SECTION("wall clock") {
        auto request = aviary.request({"/bin/sleep", "100"});
        request.policy.limits.wall = std::chrono::milliseconds(100);
        CHECK(aviary.run(std::move(request)).exit.reason == "wall");
        CHECK(aviary.limits_told == std::vector<std::string>{"wall"});
    }
    SECTION("memory of one process") {
        auto request = aviary.request({"/usr/bin/python3", "-c", "b = bytearray(200 << 20)"});
        request.policy.limits.memory = ByteCount{std::uint64_t{64} << 20U};
        CHECK_FALSE(aviary.run(std::move(request)).exit.status.ok());
    }
    SECTION("processes") {
        auto request =
            aviary.request({"/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait"});
        request.policy.limits.pids = 4;
        CHECK_THAT(aviary.run(std::move(request)).err, Contains("fork"));
    }
    SECTION("disk of the private folders") {
        auto request = aviary.request({"/bin/sh", "-c", "head -c 9000000 /dev/zero > /tmp/x"});
        request.policy.limits.disk = ByteCount{std::uint64_t{8} << 20U};
        CHECK_THAT(aviary.run(std::move(request)).err, Contains("No space left"));
    }
}

TEST_CASE("a disabled policy runs the command bare and says so", "[cage]") {
    Aviary aviary;
    auto request = aviary.request({"/bin/sh", "-c", "pwd; readlink /proc/self/ns/pid"});
    request.policy.disabled = true;
    const auto outcome = aviary.run(std::move(request));
    CHECK(outcome.out == aviary.folder.string() + "\n" + own_namespace("pid") + "\n");
    CHECK(outcome.report.layers == std::vector<std::string>{"none"});
}

TEST_CASE("killing the spawner's process kills the cage", "[cage]") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        Aviary aviary;
        pid_t runner = -1;
        aviary.await(spawn_and_leave(&aviary, &runner));
        (void)::write(ends[1], &runner, sizeof runner);
        ::kill(::getpid(), SIGKILL);
    }
    ::close(ends[1]);
    pid_t runner = -1;
    REQUIRE(::read(ends[0], &runner, sizeof runner) == sizeof runner);
    const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, runner, 0)));
    ::waitpid(child, nullptr, 0);
    pollfd gone{pidfd.get(), POLLIN, 0};
    // No pidfd: it is gone already.
    if (pidfd) CHECK(::poll(&gone, 1, 5000) == 1);
    ::close(ends[0]);
}
