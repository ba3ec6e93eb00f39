// SPDX-License-Identifier: Apache-2.0
#include "cage/host_facts.hpp"

#include "base/child.hpp"
#include "base/error.hpp"
#include "cage/backend.hpp"
#include "cage/compiler.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

/// What a program prints.
std::string output_of(std::vector<std::string> argv) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) throw_errno("make a pipe");
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    ChildSpec spec;
    spec.argv = std::move(argv);
    spec.fds = {{theirs.get(), 1}};
    Child child = Child::spawn(spec);
    theirs.reset();
    std::string out;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = ::read(ours.get(), part.data(), part.size())) > 0;)
        out.append(part.data(), static_cast<std::size_t>(got));
    return out;
}

/// bwrap's --bind-fd came with 0.10 and with Debian's security update of 0.8; with it bwrap
/// compares what it bound with what we opened, without it there is a moment for a swap.
bool knows_bind_fd(const std::string& bwrap) {
    return output_of({bwrap, "--help"}).find("--ro-bind-fd") != std::string::npos;
}

/// Whether volary-init gets a listener here: the kernel may be too old (before 5.0), and where the
/// daemon itself lives under such a filter there can be no second.
bool knows_notify(const std::string& init) {
    ChildSpec spec;
    spec.argv = {init, "--can-notify"};
    Child child = Child::spawn(spec);
    ExitStatus status;
    siginfo_t info{};
    const auto pidfd = static_cast<id_t>(child.pidfd());
    while (::waitid(P_PIDFD, pidfd, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
    }
    return child.try_reap(status) && status.ok();
}

/// The ABI of landlock_create_ruleset(2); 0 when the kernel has none or it is switched off.
int landlock_abi() {
    constexpr unsigned kVersion = 1;  // LANDLOCK_CREATE_RULESET_VERSION
    const auto abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kVersion);
    return abi > 0 ? static_cast<int>(abi) : 0;
}

/// The first with `--log-driver=passthrough` and `--passwd`.
constexpr unsigned kOldestPodman = 4;

std::string seccomp_words(const CagePolicy& policy, bool notify) {
    std::string out =
        policy.seccomp == SeccompProfile::relaxed ? "seccomp: relaxed" : "seccomp: default";
    if (!policy.seccomp_add.empty()) out += fmt::format(", {} added", policy.seccomp_add.size());
    if (!policy.seccomp_remove.empty())
        out += fmt::format(", {} removed", policy.seccomp_remove.size());
    return out + (notify ? "; refused calls are told" : "; refused calls are not told here");
}

}  // namespace

HostFacts find_host_facts(const SpawnerPaths& paths) {
    HostFacts out;
    // The native back end needs no bwrap.
    out.bind_by_fd = ::access(paths.bwrap.c_str(), X_OK) == 0 && knows_bind_fd(paths.bwrap);
    out.landlock_abi = landlock_abi();
    // The cage's first process has the outer filter alone, which lets through what is told.
    // Landlock keeps its memory out of reach; without it the outer filter has to refuse everything.
    out.notify = out.landlock_abi > 0 && knows_notify(paths.init);
    return out;
}

std::string podman_problem(std::string_view version) {
    // "podman version 4.3.1"; "podman" may be an alias of another program.
    constexpr std::string_view kBefore = "podman version ";
    unsigned major = 0;
    if (version.starts_with(kBefore)) {
        const auto number = version.substr(kBefore.size());
        std::from_chars(number.data(), number.data() + number.size(), major);
    }
    if (major >= kOldestPodman) return {};
    return fmt::format(
        "backend podman needs podman {}.0 or newer; this host has \"{}\"", kOldestPodman,
        version.substr(0, version.find('\n'))
    );
}

std::string find_podman_problem(const std::string& podman) {
    return podman_problem(output_of({podman, "--version"}));
}

std::vector<std::string> layer_words(const CageSpec& spec, const HostFacts& host) {
    const bool whole = gives(spec.policy.backend, Guarantee::empty_root);
    std::vector<std::string> out{
        fmt::format(
            "namespaces: {} ({}); no nested user namespaces",
            whole ? "user, pid, ipc, uts, cgroup, net, mount" : "pid, ipc, uts, net, mount",
            to_string(spec.policy.backend)
        ),
        whole ? "root: empty, allowlisted binds opened beforehand"
              : "root: the host's, emptied at the top; Landlock for what is left",
        seccomp_words(spec.policy, spec.notify),
        host.landlock_abi > 0 ? fmt::format("Landlock: ABI {}", host.landlock_abi)
                              : "Landlock: not on this kernel",
        "no capabilities, no new privileges, no inherited descriptors or environment",
        spec.policy.net.empty() ? "network: none" : "network: allowlist by the gatekeeper",
    };
    return out;
}

}  // namespace volary::cage
