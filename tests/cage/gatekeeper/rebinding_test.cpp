// SPDX-License-Identifier: Apache-2.0
// A name server that lies: public when it is asked first, an inner address ever after; and that has
// no answer for slow names. Runs in namespaces of its own, with its own /etc/resolv.conf and its
// own "internet" on `lo`.
#include "cage/gatekeeper/resolver.hpp"
#include "tests/cage/gatekeeper/gatekeeper_fixture.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Kind = NetRule::Kind;

namespace {

constexpr const char* kPublic = "93.184.216.34";
constexpr const char* kInner = "127.0.0.1";

void write_file(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

void raise(const char* interface, const char* address) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
    auto& to = reinterpret_cast<sockaddr_in&>(request.ifr_addr);
    to.sin_family = AF_INET;
    REQUIRE(::inet_pton(AF_INET, address, &to.sin_addr) == 1);
    REQUIRE(::ioctl(socket.get(), SIOCSIFADDR, &request) == 0);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    REQUIRE(::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0);
}

/// Namespaces in which this process may bind port 53 and say where names are looked up.
void enter_own_world() {
    static bool entered = false;
    if (std::exchange(entered, true)) return;
    const auto folder =
        std::filesystem::temp_directory_path() / ("volary-rebinding-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const auto uid = std::to_string(::getuid());
    const auto gid = std::to_string(::getgid());
    REQUIRE(::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) == 0);
    write_file("/proc/self/uid_map", uid + " " + uid + " 1");
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/gid_map", gid + " " + gid + " 1");
    raise("lo", kInner);
    raise("lo:0", kPublic);
    const auto resolve = folder / "resolv.conf";
    const auto lookup = folder / "nsswitch.conf";
    write_file(resolve, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    write_file(lookup, "hosts: dns\n");
    REQUIRE(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    REQUIRE(::mount(resolve.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) == 0);
    REQUIRE(::mount(lookup.c_str(), "/etc/nsswitch.conf", nullptr, MS_BIND, nullptr) == 0);
    // What is mounted stays.
    std::filesystem::remove_all(folder);
}

/// Answers in a process of its own until it is killed; counts questions for IPv4 addresses.
class LyingServer {
public:
    LyingServer() {
        void* shared = ::mmap(
            nullptr, sizeof *asked_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0
        );
        REQUIRE(shared != MAP_FAILED);
        asked_ = new (shared) std::atomic<int>(0);
        socket_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(53);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
        child_ = ::fork();
        if (child_ == 0) serve();
    }
    LyingServer(const LyingServer&) = delete;
    LyingServer& operator=(const LyingServer&) = delete;
    ~LyingServer() {
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
        ::munmap(asked_, sizeof *asked_);
    }
    int asked() const { return asked_->load(); }

private:
    [[noreturn]] void serve() {
        for (;;) {
            std::array<std::uint8_t, 512> packet{};
            sockaddr_in from{};
            socklen_t size = sizeof from;
            const auto got = ::recvfrom(
                socket_.get(), packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&from),
                &size
            );
            if (got < 0) ::_exit(1);
            auto parsed = parse_dns({packet.data(), static_cast<std::size_t>(got)});
            const auto* query = std::get_if<DnsQuery>(&parsed);
            if (query == nullptr || query->name.starts_with("slow")) continue;
            auto answer = answer_dns(*query, DnsOutcome::no_data);
            if (query->type == kDnsTypeA) {
                const auto* address = asked_->fetch_add(1) == 0 ? kPublic : kInner;
                answer = answer_dns(*query, DnsOutcome::address, parse_address(address));
            }
            (void)::sendto(
                socket_.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from),
                size
            );
        }
    }

    UniqueFd socket_;
    std::atomic<int>* asked_ = nullptr;
    pid_t child_ = -1;
};

/// A connection of a fresh gatekeeper's cage to the name, with a peer behind both its addresses.
struct Attempted {
    Fixture::Heard heard;
    int at_public = 0, at_inner = 0;
    std::vector<Denial> denials;
};

Attempted attempt() {
    Fixture fixture;
    Peer inner(fixture.context);
    Peer outer(fixture.context, tcp::endpoint(asio::ip::make_address(kPublic), inner.port()));
    fixture.start({rule(Kind::name, "rebind.example", inner.port())});
    Attempted out;
    auto talk = [](Fixture& f, Peer& one, Peer& other, Attempted& to) -> asio::awaitable<void> {
        to.heard = co_await f.talk("rebind.example", "\1hello", 6);
        co_await one.close();
        co_await other.close();
    };
    fixture.run(talk(fixture, inner, outer, out));
    out.at_public = outer.connections;
    out.at_inner = inner.connections;
    out.denials = fixture.denials;
    return out;
}

}  // namespace

TEST_CASE("a name that changes its address between check and dial gains nothing", "[rebinding]") {
    enter_own_world();
    const LyingServer server;

    const auto first = attempt();
    CHECK(first.heard.text == "\1hello");
    CHECK(first.at_public == 1);
    CHECK(first.at_inner == 0);
    CHECK(first.denials.empty());
    // The address that was checked is the one that was dialled: nobody asked again in between.
    CHECK(server.asked() == 1);

    const auto second = attempt();
    CHECK(second.heard.reset());
    CHECK(second.at_public == 0);
    CHECK(second.at_inner == 0);
    CHECK(server.asked() == 2);
    REQUIRE(second.denials.size() == 1);
    CHECK(second.denials[0].layer == "net");
    CHECK_THAT(second.denials[0].what, Catch::StartsWith("private address, tcp rebind.example:"));
    CHECK_THAT(second.denials[0].what, Catch::EndsWith(" at 127.0.0.1"));
}

TEST_CASE("a cage that asks for slow names holds up no other", "[rebinding]") {
    enter_own_world();
    const LyingServer server;
    asio::io_context io;
    Resolver resolver(io.get_executor(), {}, std::chrono::seconds(20));
    int slow_ended = 0;
    Resolved fast;
    auto ask = [](Resolver& r, std::string name, std::string asker) -> asio::awaitable<Resolved> {
        return r.resolve(std::move(name), std::move(asker));
    };
    for (int i = 0; i < 20; ++i) {
        const auto ended = [&](const std::exception_ptr&, const Resolved&) { ++slow_ended; };
        asio::co_spawn(io, ask(resolver, "slow" + std::to_string(i) + ".example", "a"), ended);
    }
    bool answered = false;
    const auto ended = [&](const std::exception_ptr&, Resolved found) {
        fast = std::move(found);
        answered = true;
    };
    asio::co_spawn(io, ask(resolver, "fast.example", "b"), ended);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!answered && io.run_one_until(end) > 0) {
    }
    CHECK(fast.addresses.size() == 1);
    // Twenty names of a second each, two at a time: nearly all of them still wait.
    CHECK(slow_ended < 10);
    bool closed = false;
    asio::co_spawn(io, resolver.close(), [&](const std::exception_ptr&) { closed = true; });
    while (!closed && io.run_one_until(end) > 0) {
    }
    CHECK(closed);
}
