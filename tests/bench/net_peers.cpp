// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/net_peers.hpp"

#include "base/unique_fd.hpp"

#include <arpa/inet.h>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace volary::bench {
namespace {

constexpr const char* kTun = "/dev/net/tun";

std::string name_of(NetPeer peer) { return peer == NetPeer::pasta ? "pasta" : "slirp4netns"; }

/// slirp4netns joins the namespaces of a process, which must have made them before.
constexpr const char* kSlirp =
    "unshare -Urn \"$@\" & client=$!\n"
    "until [ \"$(readlink /proc/$client/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]\n"
    "do :; done\n"
    "slirp4netns --configure --mtu=65520 $client tap0 >/dev/null 2>&1 & slirp=$!\n"
    "wait $client; kill $slirp";

std::vector<std::string> command(NetPeer peer) {
    std::vector<std::string> argv = {"timeout", "120"};
    // A node that this user may open takes the place of the device, for this command alone.
    if (const char* tun = std::getenv("VOLARY_BENCH_TUN"); tun != nullptr)
        for (const char* word : {"bwrap", "--dev-bind", "/", "/", "--dev-bind", tun, kTun})
            argv.emplace_back(word);
    if (peer == NetPeer::pasta)
        for (const char* word : {"pasta", "--quiet", "--config-net", "--"}) argv.emplace_back(word);
    if (peer == NetPeer::slirp4netns)
        for (const char* word : {"sh", "-c", kSlirp, "sh"}) argv.emplace_back(word);
    return argv;
}

/// What `argv` writes on standard output; nothing when it cannot be started.
std::string output_of(std::vector<std::string> argv) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) return {};
    UniqueFd out(ends[0]);
    UniqueFd in(ends[1]);
    std::vector<char*> words;
    for (auto& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child = -1;
    const int failed = ::posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    in.reset();
    std::string text;
    std::array<char, 256> buffer{};
    for (ssize_t got = 0; (got = ::read(out.get(), buffer.data(), buffer.size())) > 0;)
        text.append(buffer.data(), static_cast<std::size_t>(got));
    if (failed == 0) ::waitpid(child, nullptr, 0);
    return text;
}

}  // namespace

std::optional<NetFigures> through_peer(NetPeer peer, const std::string& self, std::uint16_t port) {
    const auto refuse = [&](const char* why) {
        std::fprintf(stderr, "%s does not run here: %s\n", name_of(peer).c_str(), why);
        return std::nullopt;
    };
    // Asked first: a pasta that cannot open it leaves a process behind, which keeps our pipe open.
    const bool tun = std::getenv("VOLARY_BENCH_TUN") != nullptr;
    if (!tun && ::access(kTun, R_OK | W_OK) != 0) return refuse("/dev/net/tun is root's alone");
    auto argv = command(peer);
    argv.insert(argv.end(), {self, "--client", std::to_string(port)});
    const auto text = output_of(std::move(argv));
    const auto at = text.find("client ");
    const auto* line = at == std::string::npos ? "" : text.c_str() + at;
    NetFigures out;
    if (std::sscanf(line, "client %lf %lf", &out.connect_us, &out.gb_per_s) != 2)
        return refuse("not installed, or it may not make namespaces");
    return out;
}

std::string default_gateway() {
    for (int turn = 0; turn < 500; ++turn) {
        std::ifstream routes("/proc/net/route");
        std::string line;
        while (std::getline(routes, line)) {
            unsigned to = 1, gateway = 0;
            // The kernel writes the addresses as they stand in memory.
            if (std::sscanf(line.c_str(), "%*s %x %x", &to, &gateway) != 2 || to != 0) continue;
            const in_addr address{gateway};
            return ::inet_ntoa(address);
        }
        (void)::poll(nullptr, 0, 10);
    }
    return {};
}

}  // namespace volary::bench
