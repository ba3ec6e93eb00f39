// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/shim.hpp"

#include "cage/init/sync.hpp"
#include "cage/shim/live_bind.hpp"
#include "cage/shim/monotonic.hpp"
#include "cage/shim/network.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <iterator>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace volary::cage {
namespace {

/// Kinds of refused calls that wait for a daemon.
constexpr std::size_t kMaxUntold = 64;

UniqueFd open_pid(pid_t pid) {
    return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool send_to(const UniqueFd& process, int number) {
    return process && ::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0) == 0;
}

/// Reads a small file of /proc; empty on failure.
std::string read_small(const char* path) {
    const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
    if (!file) return {};
    char text[4096];
    const auto got = ::read(file.get(), text, sizeof text - 1);
    return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : std::string();
}

/// The runner's parent: the first process of the cage's pid namespace.
pid_t parent_of(pid_t pid) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/status", pid);
    const auto status = read_small(path);
    const auto at = status.find("\nPPid:");
    return at == std::string::npos ? -1 : std::atoi(status.c_str() + at + 6);
}

void ignore_terminal_signals() {
    // The runner is in the terminal's session: Ctrl-C is for it, not for its supervisors.
    // volary-init puts every signal back to its default.
    for (const int number : {SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU}) ::signal(number, SIG_IGN);
}

std::uint64_t to_us(const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000U +
           static_cast<std::uint64_t>(time.tv_usec);
}

}  // namespace

int Shim::run() {
    auto failed = set_up();
    if (!failed) failed = launch();
    if (failed) {
        fail(*failed);
        kill_all();
    }
    (void)drop_capabilities();
    loop();
    if (keep_ && !failed_) return 0;
    tell(notifier_.finish());
    if (keep_) {
        // What the program that should have built the cage said about it.
        streams_.finish(true);
        streams_.resume({wire::Stream::err, 0, wire::kMaxPiece});
        (void)streams_.send(control_.get());
    }
    return send_packet(control_.get(), wire::encode(exited_)) ? 0 : 1;
}

StepResult Shim::set_up() {
    // Orphans of the cage come to us when bwrap's monitor dies first, so that none is missed.
    if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return step_error("become subreaper");
    sigset_t child;
    ::sigemptyset(&child);
    ::sigaddset(&child, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &child, nullptr);
    children_.reset(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!children_) return step_error("signalfd");
    if (place_ == Place::host) return {};
    const auto start = now_us();
    auto failed = enter_namespaces();
    started_.net_setup_us = static_cast<std::uint32_t>(now_us() - start);
    return failed;
}

StepResult Shim::launch() {
    Packet packet;
    if (receive_packet(control_.get(), packet) != Received::packet)
        return StepError{"read launch", "the daemon has gone", 0};
    const auto request = wire::decode_launch(packet.bytes);
    if (!request) return StepError{"read launch", "not a launch request of this version", 0};
    if (request->keep_session) ignore_terminal_signals();
    notify_ = request->notify;
    if (request->keep)
        if (auto failed = keep(*request->keep, packet.fds)) return failed;
    // The cage is built while its network is: volary-init waits for our word before it executes
    // the runner, so the two need no order.
    if (auto failed = start_cage(*request, std::move(packet.fds), launched_)) return failed;
    if (place_ == Place::host) return {};
    const auto start = now_us();
    auto failed = set_up_loopback();
    if (!failed) failed = hand_over_sockets(request->sockets);
    started_.net_setup_us += static_cast<std::uint32_t>(now_us() - start);
    return failed;
}

StepResult Shim::hand_over_sockets(const std::vector<wire::BindSpec>& specs) {
    std::vector<UniqueFd> sockets;
    sockets.reserve(specs.size() + 1);
    for (const auto& spec : specs) {
        sockets.push_back(bind_socket(spec));
        if (!sockets.back())
            return step_error("bind", spec.address + " port " + std::to_string(spec.port));
    }
    sockets.push_back(open_packet_socket());
    if (!sockets.back()) return step_error("open packet socket", "lo");
    std::size_t sent = 0;
    while (sent < sockets.size()) {
        const auto count = std::min(wire::kMaxFds, sockets.size() - sent);
        std::vector<int> numbers;
        numbers.reserve(count);
        for (std::size_t i = 0; i < count; ++i) numbers.push_back(sockets[sent + i].get());
        sent += count;
        const wire::Sockets message{static_cast<std::uint32_t>(sockets.size() - sent)};
        if (!send_packet(control_.get(), wire::encode(message), numbers))
            return step_error("send sockets");
    }
    packet_ = std::move(sockets.back());
    for (std::size_t i = 0; i < specs.size(); ++i) hold({specs[i], {}}, std::move(sockets[i]));
    return {};
}

void Shim::loop() {
    reap();
    while (!over(now_us() / 1000)) {
        const auto now = now_us() / 1000;
        const auto talk = static_cast<short>(blocked_ ? POLLIN | POLLOUT : POLLIN);
        pollfd waits[5 + Streams::kPolls] = {
            {children_.get(), POLLIN, 0},
            {control_.get(), talk, 0},
            {launched_.sync.get(), POLLIN, 0},
            {notifier_.poll_fd(now), POLLIN, 0},
            {listener_.get(), POLLIN, 0}
        };
        streams_.fill(waits + 5, attached(), now);
        if (::poll(waits, std::size(waits), wait_ms(now)) < 0 && errno != EINTR) kill_all();
        tell(notifier_.serve(waits[3].revents, now_us() / 1000));
        if (waits[2].revents != 0) on_sync();
        if ((waits[1].revents & ~POLLOUT) != 0) on_control();
        if (waits[4].revents != 0) on_listener();
        streams_.serve(waits + 5, attached(), now);
        if (waits[0].revents != 0) reap();
        if (keep_ && attached()) blocked_ = streams_.send(control_.get());
    }
}

void Shim::on_control() {
    Packet packet;
    const auto got = receive_packet(control_.get(), packet);
    if (got == Received::packet) return on_command(packet);
    if (got == Received::again) return;
    control_.reset();  // poll() skips a negative descriptor.
    if (keep_) return daemon_gone();
    kill_all();
}

void Shim::on_command(const Packet& packet) {
    if (const auto bind = wire::decode_bind(packet.bytes)) return on_bind(*bind);
    if (const auto mount = wire::decode_mount(packet.bytes)) return on_mount(*mount, packet);
    if (const auto signal = wire::decode_signal(packet.bytes)) {
        (void)send_to(runner_, signal->number);
        return;
    }
    if (wire::type_of(packet.bytes) == wire::Type::kill) return kill_all();
    if (keep_) on_keep_command(packet);
}

void Shim::on_bind(const wire::Bind& bind) {
    // On the host it would be a socket of the host.
    errno = EOPNOTSUPP;
    auto socket = place_ == Place::host ? UniqueFd() : bind_socket(bind.socket);
    const wire::Bound answer{bind.request, socket ? 0 : errno};
    std::vector<int> numbers;
    if (socket) numbers.push_back(socket.get());
    (void)send_packet(control_.get(), wire::encode(answer), numbers);
    hold({bind.socket, bind.name}, std::move(socket));
}

void Shim::on_mount(const wire::Mount& mount, const Packet& packet) {
    wire::Mounted answer{mount.request, "find the cage", ESRCH};
    if (place_ == Place::host)
        answer.error = EOPNOTSUPP;
    else if (init_ && !packet.fds.empty())
        answer = bind_into(mount, packet.fds.front(), started_.init);
    (void)send_packet(control_.get(), wire::encode(answer));
}

void Shim::on_sync() {
    Packet packet;
    const auto got = receive_packet(launched_.sync.get(), packet);
    if (got == Received::again) return;
    if (got == Received::closed) {
        launched_.sync.reset();
        // The runner's exec closed it: from here on it runs.
        if (!runner_ || failed_) return;
        running_ = true;
        (void)send_packet(control_.get(), wire::encode(started_));
        return;
    }
    const char kind = packet.bytes.front();
    if (kind == sync::kMoved && !packet.fds.empty()) {
        launched_.sync = std::move(packet.fds.front());
        return;
    }
    if (kind == sync::kReady && !runner_) return on_ready(std::move(packet));
    if (kind == sync::kFailed) on_init_failed(std::string_view(packet.bytes).substr(1));
}

void Shim::on_ready(Packet packet) {
    const pid_t runner = packet.sender_pid;
    // What the outer filter lets through would then be held by the inner one's ENOSYS alone.
    if (notify_ && packet.fds.empty()) {
        fail({"set the filter", "volary-init sent no listener", 0});
        return kill_all();
    }
    if (notify_) notifier_.attach(std::move(packet.fds.front()));
    // The sender waits for our answer, so neither pid can have been reused.
    started_.runner = runner;
    started_.init = parent_of(runner);
    // There the launcher is the first process, and has capabilities in its user namespace, so that
    // nobody may look at it; volary-init below it is the runner's parent.
    const auto first = place_ == Place::host ? parent_of(started_.init) : started_.init;
    runner_ = open_pid(runner);
    init_ = open_pid(first);
    if (!runner_ || !init_) {
        fail(step_error("pidfd_open", "the cage's processes"));
        return kill_all();
    }
    if (failed_ || killing_) return;
    const char go = sync::kGo;
    (void)send_packet(launched_.sync.get(), std::string_view(&go, 1));
}

void Shim::on_init_failed(std::string_view message) {
    const auto first = message.find('\0');
    const auto second = first == message.npos ? first : message.find('\0', first + 1);
    if (second == message.npos) return fail({"read init's report", "", EPROTO});
    StepError error;
    error.error = std::atoi(std::string(message.substr(0, first)).c_str());
    error.step = message.substr(first + 1, second - first - 1);
    error.subject = message.substr(second + 1);
    fail(error);
}

void Shim::tell(const std::vector<wire::DeniedCall>& calls) {
    for (const auto& call : calls) {
        if (keep_ && !attached())
            untold_.push_back(call);
        else
            (void)send_packet(control_.get(), wire::encode(call));
    }
    // Each is a kind of call with its count: more kinds than that nobody reads.
    while (untold_.size() > kMaxUntold) untold_.pop_front();
}

void Shim::reap() {
    signalfd_siginfo drained[8];
    while (::read(children_.get(), drained, sizeof drained) > 0) {
    }
    int status = 0;
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != launched_.monitor) continue;
        exited_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        exited_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        // Background processes of the runner end with it: an agent leaves nothing behind.
        killing_ = true;
    }
    if (pid < 0 && errno == ECHILD) {
        gone_ = true;
        if (!runner_ && !failed_ && !killing_) fail({"start the cage", "no process", ECHILD});
        if (!started_.runner && !failed_) fail({"build the cage", why_not_built(), 0});
        rusage used{};
        ::getrusage(RUSAGE_CHILDREN, &used);
        exited_.user_us = to_us(used.ru_utime);
        exited_.system_us = to_us(used.ru_stime);
        exited_.max_rss_kb = static_cast<std::uint64_t>(used.ru_maxrss);
        if (!keep_ || failed_) return;
        streams_.finish(attached());
        tell(notifier_.finish());
        if (attached()) (void)send_packet(control_.get(), wire::encode(exited_));
        return;
    }
    if (killing_) kill_all();
}

std::string Shim::why_not_built() const {
    if (!launched_.said) return "its first process exited with " + std::to_string(exited_.code);
    char text[1024];
    const auto got = ::pread(launched_.said.get(), text, sizeof text, 0);
    std::string said(text, got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!said.empty() && said.back() == '\n') said.pop_back();
    return "the launcher ended with " + std::to_string(exited_.code) + ": " + said;
}

void Shim::kill_all() {
    killing_ = true;
    // Killing the first process of a pid namespace makes the kernel kill all others in it.
    (void)send_to(init_, SIGKILL);
    // What podman started beside the cage (itself, conmon, its cleaning) has nothing to do then:
    // all its files are in a namespace that goes with it.
    if (init_ && !launched_.said) return;
    // Too early to know it: kill what is ours; what is orphaned by that comes to us and is killed
    // on the next SIGCHLD.
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%d/children", ::getpid());
    const auto list = read_small(path);
    const char* at = list.c_str();
    char* end = nullptr;
    for (long pid = std::strtol(at, &end, 10); end != at; pid = std::strtol(at, &end, 10)) {
        at = end;
        ::kill(static_cast<pid_t>(pid), SIGKILL);
    }
}

void Shim::fail(const StepError& error) {
    if (failed_) return;
    failed_ = true;
    failure_ = wire::Failed{error.step, error.subject, error.error};
    (void)send_packet(control_.get(), wire::encode(*failure_));
}

}  // namespace volary::cage
