// SPDX-License-Identifier: Apache-2.0
// Landlock and the inner filter without anything else around them: each must hold alone.
#include "cage/init/filter.hpp"
#include "cage/init/landlock.hpp"
#include "cage/seccomp.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;

namespace {

/// The exit status of a child that runs `work`; what it locks itself into ends with it.
int in_child(const std::function<int()>& work) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) ::_exit(99);
        ::_exit(work());
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int outcome(long result) { return result < 0 ? errno : 0; }

int write_to(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    return outcome(file.get());
}

struct Folders {
    Folders() {
        auto pattern = (std::filesystem::temp_directory_path() / "volary-alone-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        root = pattern;
        inside = root + "/inside";
        outside = root + "/outside";
        for (const auto& folder : {inside, outside}) std::filesystem::create_directory(folder);
        std::filesystem::create_symlink(outside, inside + "/link");
        write_to(outside + "/file");
    }
    ~Folders() {
        std::error_code ignored;
        std::filesystem::remove_all(root, ignored);
    }
    std::string root, inside, outside;
};

int under_landlock(const Folders& folders, const std::function<int()>& work) {
    InitOptions options;
    options.writable = {folders.inside};
    return in_child([&] { return apply_landlock(options) ? 98 : work(); });
}

int under_filter(const std::string& bytes, bool keep, const std::function<int()>& work) {
    FilterProgram program(bytes.size() / sizeof(sock_filter));
    std::memcpy(program.data(), bytes.data(), bytes.size());
    return in_child([&] {
        UniqueFd listener;
        if (install_filter(program, true, listener)) return 98;
        if (!keep) listener.reset();
        return work();
    });
}

}  // namespace

TEST_CASE("Landlock alone keeps writing inside", "[landlock]") {
    if (landlock_abi() == 0) return;
    const Folders f;
    CHECK(under_landlock(f, [&] { return write_to(f.inside + "/new"); }) == 0);
    CHECK(under_landlock(f, [&] { return write_to(f.outside + "/new"); }) == EACCES);
    CHECK(under_landlock(f, [&] { return write_to(f.outside + "/file"); }) == EACCES);
    CHECK(under_landlock(f, [&] { return write_to(f.inside + "/link/new"); }) == EACCES);
    CHECK(under_landlock(f, [&] { return write_to(f.inside + "/../outside/new"); }) == EACCES);
    // Reading and executing stay: mounts decide about those.
    CHECK(under_landlock(f, [&] {
              return outcome(::access((f.outside + "/file").c_str(), R_OK));
          }) == 0);
}

TEST_CASE("Landlock alone keeps reading to what is listed", "[landlock]") {
    if (landlock_abi() == 0) return;
    const Folders f;
    InitOptions options;
    options.readable = {"/usr", "/nowhere", f.outside};
    options.writable = {f.inside};
    const auto read = [&](const std::string& path) {
        return in_child([&] {
            if (apply_landlock(options)) return 98;
            const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
            return outcome(file.get());
        });
    };
    CHECK(read(f.outside + "/file") == 0);
    CHECK(read("/usr/bin") == 0);
    CHECK(read(f.inside) == 0);
    CHECK(read("/etc/passwd") == EACCES);
    CHECK(read("/") == EACCES);
    CHECK(read(f.root) == EACCES);
    options.readable = {"/nowhere"};
    CHECK(read(f.outside + "/file") == EACCES);
}

TEST_CASE("Landlock alone refuses to change what is outside in other ways", "[landlock]") {
    const int abi = landlock_abi();
    if (abi == 0) return;
    const Folders f;
    const auto file = f.outside + "/file";
    const auto moved = f.inside + "/moved";
    const auto refused = [](int error) { return error == EACCES || error == EXDEV; };
    CHECK(refused(under_landlock(f, [&] { return outcome(::unlink(file.c_str())); })));
    CHECK(refused(under_landlock(f, [&] { return outcome(::rename(file.c_str(), moved.c_str())); }))
    );
    CHECK(refused(under_landlock(f, [&] { return outcome(::link(file.c_str(), moved.c_str())); })));
    CHECK(refused(under_landlock(f, [&] {
        return outcome(::mkdir((f.outside + "/folder").c_str(), 0700));
    })));
    if (abi >= 3)
        CHECK(refused(under_landlock(f, [&] { return outcome(::truncate(file.c_str(), 0)); })));
}

TEST_CASE("Landlock alone keeps signals and abstract sockets inside", "[landlock]") {
    if (landlock_abi() < 6) return;
    const Folders f;
    const pid_t parent = ::getpid();
    CHECK(under_landlock(f, [&] { return outcome(::kill(parent, 0)); }) == EPERM);
    CHECK(under_landlock(f, [&] { return outcome(::kill(::getpid(), 0)); }) == 0);
    const UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // Autobind: the kernel chooses an abstract name (unix(7)).
    REQUIRE(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)) == 0);
    REQUIRE(::listen(server.get(), 1) == 0);
    socklen_t size = sizeof address;
    ::getsockname(server.get(), reinterpret_cast<sockaddr*>(&address), &size);
    const auto connect = [&] {
        const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        return outcome(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size));
    };
    CHECK(connect() == 0);
    CHECK(under_landlock(f, connect) == EPERM);
}

TEST_CASE("a notified call stays refused when nobody holds the listener", "[notify]") {
    if (in_child([] { return can_notify() ? 0 : 1; }) != 0) return;
    const auto inner = seccomp_programs({}, Notify::yes).inner;
    const auto attempt = [&](long number) {
        return under_filter(inner, false, [&] {
            return outcome(::syscall(number, 0, 0, 0, 0, 0));
        });
    };
    for (const long number : {SYS_mount, SYS_unshare, SYS_ptrace, SYS_keyctl, SYS_io_uring_setup})
        CHECK(attempt(number) == ENOSYS);
    CHECK(attempt(SYS_getpid) == 0);
}

TEST_CASE("nobody inside gets a listener that could say yes", "[notify]") {
    if (in_child([] { return can_notify() ? 0 : 1; }) != 0) return;
    const auto inner = seccomp_programs({}, Notify::yes).inner;
    const auto again = [&] {
        FilterProgram own{BPF_STMT(BPF_RET | BPF_K, 0x7fc00000U)};  // SECCOMP_RET_USER_NOTIF
        UniqueFd listener;
        const auto failed = install_filter(own, true, listener);
        return failed ? failed->error : 0;
    };
    CHECK(under_filter(inner, true, again) == EPERM);
    CHECK(under_filter(inner, false, again) == EPERM);
}
