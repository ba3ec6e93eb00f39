// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/launch.hpp"

#include "cage/firejail/launch.hpp"
#include "cage/init/sync.hpp"
#include "cage/native/launch.hpp"
#include "cage/podman/launch.hpp"
#include "cage/shim/network.hpp"
#include "cage/shim/overlay.hpp"
#include "cage/shim/prepared.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace volary::cage {
namespace {

StepResult make_data(std::string_view bytes, const char* what, UniqueFd& out) {
    out.reset(::memfd_create("volary", MFD_CLOEXEC));
    if (!out) return step_error("memfd_create", what);
    while (!bytes.empty()) {
        const auto wrote = ::write(out.get(), bytes.data(), bytes.size());
        if (wrote < 0) return step_error("write", what);
        bytes.remove_prefix(static_cast<std::size_t>(wrote));
    }
    if (::lseek(out.get(), 0, SEEK_SET) < 0) return step_error("lseek", what);
    return {};
}

/// The number of the descriptor that an argument names; -1 when there is none.
int number_of(const wire::Argument& argument, const Prepared& prepared) {
    using Kind = wire::Argument::Kind;
    const auto index = argument.index;
    if (argument.kind == Kind::sync) return prepared.sync.get();
    if (argument.kind == Kind::lifeline) return prepared.lifeline.get();
    if (argument.kind == Kind::data)
        return index < prepared.data.size() ? prepared.data[index].get() : -1;
    return index < prepared.fds.size() ? prepared.fds[index].get() : -1;
}

/// Podman passes descriptors on as 3, 4, ...; the others as they are.
constexpr int kFirstPassed = 3;

bool by_podman(const wire::Launch& launch) { return launch.native && !launch.launcher.empty(); }
bool by_firejail(const wire::Launch& launch) { return !launch.native && !launch.launcher.empty(); }

StepResult render(
    const wire::Launch& launch, const wire::Argument& argument, Prepared& prepared, std::string& out
) {
    using Kind = wire::Argument::Kind;
    if (argument.kind == Kind::text) {
        out = argument.text;
        return {};
    }
    int number = number_of(argument, prepared);
    if (number < 0) return StepError{"read launch", "descriptor index out of range", 0};
    prepared.keep.push_back(number);
    if (by_podman(launch)) number = kFirstPassed + static_cast<int>(prepared.keep.size()) - 1;
    out = (argument.kind == Kind::fd_path ? "/proc/self/fd/" : "") + std::to_string(number);
    return {};
}

/// bwrap's own words, as descriptor; `word` is scratch space.
StepResult prepare_options(const wire::Launch& launch, Prepared& prepared, std::string& word) {
    std::string options;
    for (const auto& argument : launch.options) {
        if (auto failed = render(launch, argument, prepared, word)) return failed;
        options.append(word).push_back('\0');
    }
    if (auto failed = make_data(options, "bwrap options", prepared.args)) return failed;
    prepared.keep.push_back(prepared.args.get());
    prepared.argv = {"bwrap", "--args", std::to_string(prepared.args.get()), "--"};
    return {};
}

StepResult prepare_argv(const wire::Launch& launch, Prepared& prepared) {
    std::string word;
    if (!launch.native && launch.launcher.empty())
        if (auto failed = prepare_options(launch, prepared, word)) return failed;
    prepared.argv.insert(prepared.argv.end(), launch.launcher.begin(), launch.launcher.end());
    for (const auto& argument : launch.command) {
        if (auto failed = render(launch, argument, prepared, word)) return failed;
        prepared.argv.push_back(word);
    }
    for (auto& text : prepared.argv) prepared.pointers.push_back(text.data());
    prepared.pointers.push_back(nullptr);
    return {};
}

bool names_data(const std::vector<wire::Argument>& words, std::size_t index) {
    for (const auto& word : words)
        if (word.kind == wire::Argument::Kind::data && word.index == index) return true;
    return false;
}

StepResult prepare(const wire::Launch& launch, std::vector<UniqueFd> fds, Prepared& prepared) {
    prepared.fds = std::move(fds);
    if (auto failed = mount_overlays(launch.overlays, prepared.fds)) return failed;
    for (const auto index : launch.stdio)
        if (index >= prepared.fds.size()) return StepError{"read launch", "no such stdio", 0};
    for (const auto index : launch.joins)
        if (index >= prepared.fds.size()) return StepError{"read launch", "no such cgroup", 0};
    prepared.data.resize(launch.data.size());
    for (std::size_t i = 0; i < launch.data.size(); ++i) {
        // The native launcher writes files from memory; volary-init is another program.
        if (launch.native && !names_data(launch.command, i)) continue;
        if (auto failed = make_data(launch.data[i], "data", prepared.data[i])) return failed;
    }
    return prepare_argv(launch, prepared);
}

/// Between fork and exec: system calls only.
[[noreturn]] void become_bwrap(const wire::Launch& launch, Prepared& prepared) {
    const int sync = prepared.sync.get();
    join_cgroups(launch, prepared);
    if (drop_capabilities()) report_and_exit(sync, "drop capabilities", "");
    take_descriptors(launch, prepared);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    char* const no_environment[] = {nullptr};
    ::execve(launch.bwrap.c_str(), prepared.pointers.data(), no_environment);
    report_and_exit(sync, "execute", launch.bwrap.c_str());
}

StepResult make_lifeline(Prepared& prepared, Launched& out) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return step_error("socketpair");
    out.lifeline.reset(pair[0]);
    prepared.lifeline.reset(pair[1]);
    return make_data({}, "the launcher's words", out.said);
}

}  // namespace

void report_and_exit(int sync, const char* step, const char* subject) {
    char message[sync::kMaxMessage];
    const int error = errno;
    int size = std::snprintf(
        message, sizeof message, "%c%d%c%s%c%s", sync::kFailed, error, 0, step, 0, subject
    );
    if (size > sync::kMaxMessage) size = sync::kMaxMessage;
    (void)::send(sync, message, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    ::_exit(sync::kExitFailed);
}

void join_cgroups(const wire::Launch& launch, const Prepared& prepared) {
    for (const auto index : launch.joins) {
        if (::write(prepared.fds[index].get(), "0", 1) != 1)
            report_and_exit(prepared.sync.get(), "enter cgroup", "cgroup.procs");
    }
}

void take_descriptors(const wire::Launch& launch, const Prepared& prepared) {
    for (int to = 0; to <= 2; ++to) {
        if (::dup2(prepared.fds[launch.stdio[to]].get(), to) < 0)
            report_and_exit(prepared.sync.get(), "dup2", "stdio");
    }
    for (const int fd : prepared.keep) {
        if (::fcntl(fd, F_SETFD, 0) < 0)
            report_and_exit(prepared.sync.get(), "keep descriptor", "");
    }
}

StepResult start_cage(const wire::Launch& launch, std::vector<UniqueFd> fds, Launched& out) {
    Prepared prepared;
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return step_error("socketpair");
    out.sync.reset(pair[0]);
    prepared.sync.reset(pair[1]);
    const int on = 1;
    if (::setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return step_error("set SO_PASSCRED");
    if (!launch.launcher.empty())
        if (auto failed = make_lifeline(prepared, out)) return failed;
    if (auto failed = prepare(launch, std::move(fds), prepared)) return failed;
    if (launch.native && launch.launcher.empty())
        return start_native(launch, prepared, out.monitor);
    out.monitor = ::fork();
    if (out.monitor < 0) return step_error("fork");
    if (out.monitor == 0 && by_podman(launch)) become_podman(launch, prepared, out.said.get());
    if (out.monitor == 0 && by_firejail(launch)) become_firejail(launch, prepared, out.said.get());
    if (out.monitor == 0) become_bwrap(launch, prepared);
    return {};
}

}  // namespace volary::cage
