// SPDX-License-Identifier: Apache-2.0
#include "base/child.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <fmt/format.h>

namespace volary {
namespace {

/// posix_spawn's file actions and attributes, freed on every path.
class SpawnPlan {
public:
    SpawnPlan() {
        ::posix_spawn_file_actions_init(&actions_);
        ::posix_spawnattr_init(&attributes_);
    }
    SpawnPlan(const SpawnPlan&) = delete;
    SpawnPlan& operator=(const SpawnPlan&) = delete;
    ~SpawnPlan() {
        ::posix_spawn_file_actions_destroy(&actions_);
        ::posix_spawnattr_destroy(&attributes_);
    }

    posix_spawn_file_actions_t* actions() { return &actions_; }
    posix_spawnattr_t* attributes() { return &attributes_; }

private:
    posix_spawn_file_actions_t actions_{};
    posix_spawnattr_t attributes_{};
};

std::vector<char*> c_strings(const std::vector<std::string>& strings) {
    std::vector<char*> out;
    out.reserve(strings.size() + 1);
    for (const auto& s : strings) out.push_back(const_cast<char*>(s.c_str()));
    out.push_back(nullptr);
    return out;
}

/// Duplicates to numbers above every target first, so that no dup2 overwrites a later source.
std::vector<UniqueFd> lift(const ChildSpec& spec) {
    int highest = 2;
    for (const auto& [from, to] : spec.fds) highest = std::max(highest, to);
    std::vector<UniqueFd> lifted;
    lifted.reserve(spec.fds.size());
    for (const auto& [from, to] : spec.fds) {
        const int fd = ::fcntl(from, F_DUPFD_CLOEXEC, highest + 1);
        if (fd < 0) throw_errno("duplicate descriptor for", spec.argv.front());
        lifted.emplace_back(fd);
    }
    return lifted;
}

void plan_descriptors(SpawnPlan& plan, const ChildSpec& spec, const std::vector<UniqueFd>& lifted) {
    for (int fd = 0; fd <= 2; ++fd) {
        const auto listed =
            std::any_of(spec.fds.begin(), spec.fds.end(), [&](auto& p) { return p.second == fd; });
        if (!listed) ::posix_spawn_file_actions_addopen(plan.actions(), fd, "/dev/null", O_RDWR, 0);
    }
    int highest = 2;
    for (std::size_t i = 0; i < lifted.size(); ++i) {
        const int to = spec.fds[i].second;
        ::posix_spawn_file_actions_adddup2(plan.actions(), lifted[i].get(), to);
        highest = std::max(highest, to);
    }
    // Whatever leaked into this process without CLOEXEC must not leak further.
    ::posix_spawn_file_actions_addclosefrom_np(plan.actions(), highest + 1);
    const auto& folder = spec.working_directory;
    ::posix_spawn_file_actions_addchdir_np(plan.actions(), folder.empty() ? "/" : folder.c_str());
}

void plan_signals(SpawnPlan& plan, ChildSession session) {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::sigdelset(&all, SIGKILL);
    ::sigdelset(&all, SIGSTOP);
    ::posix_spawnattr_setsigmask(plan.attributes(), &none);
    ::posix_spawnattr_setsigdefault(plan.attributes(), &all);
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (session == ChildSession::own) flags |= POSIX_SPAWN_SETSID;
    ::posix_spawnattr_setflags(plan.attributes(), static_cast<short>(flags));
}

ExitStatus from_wait(const siginfo_t& info) {
    if (info.si_code == CLD_EXITED) return {info.si_status, 0};
    return {0, info.si_status};
}

}  // namespace

std::string to_string(const ExitStatus& status) {
    if (status.signal == 0) return fmt::format("exit {}", status.code);
    const char* name = ::sigabbrev_np(status.signal);
    return name != nullptr ? fmt::format("killed by SIG{}", name)
                           : fmt::format("killed by signal {}", status.signal);
}

Child Child::spawn(const ChildSpec& spec) {
    const auto lifted = lift(spec);
    SpawnPlan plan;
    plan_descriptors(plan, spec, lifted);
    plan_signals(plan, spec.session);
    auto argv = c_strings(spec.argv);
    auto env = c_strings(spec.env);
    pid_t pid = -1;
    const int rc = ::posix_spawn(
        &pid, spec.argv.front().c_str(), plan.actions(), plan.attributes(), argv.data(), env.data()
    );
    if (rc != 0) {
        errno = rc;
        throw_errno("start", spec.argv.front());
    }
    // We have not waited yet, so the pid cannot have been reused.
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd) {
        const int saved = errno;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        errno = saved;
        throw_errno("pidfd_open", spec.argv.front());
    }
    return Child(pid, std::move(pidfd));
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Child& Child::operator=(Child&& other) noexcept {
    if (this != &other) {
        std::swap(pid_, other.pid_);
        std::swap(pidfd_, other.pidfd_);
    }
    return *this;
}

Child::~Child() {
    if (pid_ <= 0) return;
    (void)send_signal(SIGKILL);
    siginfo_t info{};
    // By pid, which is ours until it is reaped: the event loop makes the pidfd non-blocking, and
    // then waiting by it would give up at once and leave a zombie.
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) < 0 && errno == EINTR) {
    }
}

void Child::leave() noexcept {
    pid_ = -1;
    pidfd_.reset();
}

bool Child::send_signal(int signal) noexcept {
    if (pid_ <= 0) return false;
    return ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) == 0;
}

asio::awaitable<ExitStatus> Child::wait() {
    auto executor = co_await asio::this_coro::executor;
    // The pidfd is duplicated: the descriptor object closes what it holds.
    const int copy = ::fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 0);
    if (copy < 0) throw_errno("duplicate pidfd");
    asio::posix::stream_descriptor ended(executor, copy);
    ExitStatus status;
    while (!try_reap(status)) {
        co_await ended.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    }
    co_return status;
}

bool Child::try_reap(ExitStatus& out) noexcept {
    if (pid_ <= 0) return false;
    siginfo_t info{};
    const auto id = static_cast<id_t>(pidfd_.get());
    if (::waitid(P_PIDFD, id, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return false;
    out = from_wait(info);
    pid_ = -1;
    return true;
}

}  // namespace volary
