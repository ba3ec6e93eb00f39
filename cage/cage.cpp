// SPDX-License-Identifier: Apache-2.0
#include "cage/cage.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "cage/net_plan.hpp"
#include "cage/processes.hpp"
#include "cage/refused_call.hpp"

#include <algorithm>
#include <cstring>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

namespace volary::cage {
namespace {

/// How long the shim may take to answer a request that costs it microseconds.
constexpr std::chrono::seconds kAnswer{5};
/// For a connection within one host: only a full backlog, of a server that hangs, takes as long.
constexpr std::chrono::seconds kConnect{5};
/// How long the kernel may take to end a killed pid namespace: a process in an uninterruptible
/// wait (a dead network file system) can hold it.
constexpr std::chrono::seconds kKillWait{10};
/// Rounds of "stop all that runs" before freeze() gives up on a fork bomb.
constexpr int kFreezeRounds = 200;
constexpr std::chrono::milliseconds kFreezePause{5};

wire::BindSpec to_wire(const SocketSpec& spec) {
    const bool udp = spec.kind == SocketSpec::Kind::dns_udp;
    return {udp ? wire::BindSpec::Kind::udp : wire::BindSpec::Kind::tcp, spec.address, spec.port};
}

class Waiter {
public:
    Waiter(std::list<asio::steady_timer*>& list, asio::steady_timer& timer)
        : list_(list), place_(list.insert(list.end(), &timer)) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { list_.erase(place_); }

private:
    std::list<asio::steady_timer*>& list_;
    std::list<asio::steady_timer*>::iterator place_;
};

}  // namespace

asio::awaitable<bool> Completion::wait_for(std::chrono::milliseconds limit) {
    if (done_) co_return true;
    asio::steady_timer timer(executor_, limit);
    const Waiter waiter(waiting_, timer);
    co_await timer.async_wait(as_result);
    const auto state = co_await asio::this_coro::cancellation_state;
    if (!done_ && state.cancelled() != asio::cancellation_type::none)
        throw boost::system::system_error(asio::error::operation_aborted);
    co_return done_;
}

struct Cage::PendingBind {
    explicit PendingBind(const asio::any_io_executor& executor) : answered(executor) {}
    Completion answered;
    UniqueFd socket;
    int error = 0;
};

Cage::Cage(asio::any_io_executor executor, SpawnRequest request, SpawnerHooks hooks)
    : executor_(std::move(executor)),
      id_(std::move(request.id)),
      ports_(std::move(request.policy.ports)),
      hooks_(std::move(hooks)),
      control_(executor_),
      outbox_ready_(executor_),
      started_(executor_),
      shim_gone_(executor_),
      emptied_(executor_),
      ended_(executor_) {}

asio::awaitable<void> Cage::serve(std::shared_ptr<Cage> self) {
    while (self->control_.is_open()) {
        Packet packet;
        const auto got = receive_packet(self->control_.native_handle(), packet);
        if (got == Received::packet) self->on_packet(std::move(packet));
        if (got == Received::closed) break;
        if (got != Received::again) continue;
        co_await self->control_.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) break;
    }
    // The shim closes its end as the last thing it does, when no child of it is left; whatever
    // else broke the channel, it then ends the cage.
    self->close_control();
    if (self->left_) co_return;
    if (self->kept_ != nullptr) {
        self->kept_->end();
        self->outbox_ready_.notify();
        co_await self->shim_end();
        (void)::unlink(self->socket_.c_str());
        self->shim_gone_.complete();
        self->emptied_.complete();
        co_return;
    }
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await self->shim_.wait();
    // What its network still has to tell comes before its end: who hears of that forgets the cage.
    if (self->detach_) co_await self->detach_();
    self->finish();
}

asio::awaitable<void> Cage::serve_bare(std::shared_ptr<Cage> self) {
    const auto status = co_await self->shim_.wait();
    self->exit_.status = status;
    self->finish();
}

void Cage::on_packet(Packet packet) {
    if (kept_ != nullptr && kept_->take(packet.bytes)) return;
    if (const auto sockets = wire::decode_sockets(packet.bytes)) {
        std::move(packet.fds.begin(), packet.fds.end(), std::back_inserter(sockets_));
        sockets_complete_ = sockets->remaining == 0;
        if (sockets_complete_ && on_sockets_) on_sockets_();
    } else if (const auto started = wire::decode_started(packet.bytes)) {
        runner_pid_ = report_.runner_pid = started->runner;
        init_pid_ = started->init;
        pid_namespace_ = pid_namespace(init_pid_);
        started_at_ = std::chrono::steady_clock::now();
        report_.net_setup = std::chrono::microseconds(started->net_setup_us);
        started_.complete();
    } else if (const auto exited = wire::decode_exited(packet.bytes)) {
        exit_.status = {exited->code, exited->signal};
        exit_.cpu_time = std::chrono::microseconds(exited->user_us + exited->system_us);
        exit_.max_rss_kb = exited->max_rss_kb;
        started_.complete();
        emptied_.complete();
    } else if (auto failed = wire::decode_failed(packet.bytes)) {
        failed_ = std::move(failed);
    } else if (const auto bound = wire::decode_bound(packet.bytes)) {
        on_bound(*bound, std::move(packet));
    } else if (const auto mounted = wire::decode_mounted(packet.bytes)) {
        on_mounted(*mounted);
    } else if (const auto call = wire::decode_denied_call(packet.bytes)) {
        on_denied_call(*call);
    }
}

void Cage::on_denied_call(const wire::DeniedCall& call) {
    refused_calls_ += call.count;
    if (!hooks_.denied) return;
    auto denial = to_denial(call);
    denial.cage = id_;
    hooks_.denied(id_, std::move(denial));
}

void Cage::on_bound(const wire::Bound& bound, Packet packet) {
    if (restocking_.erase(bound.request) > 0) {
        if (!packet.fds.empty()) outgoing_.put(std::move(packet.fds.front()));
        return;
    }
    const auto found = binds_.find(bound.request);
    if (found == binds_.end()) return;
    found->second->error = bound.error;
    if (!packet.fds.empty()) found->second->socket = std::move(packet.fds.front());
    found->second->answered.complete();
}

void Cage::finish() {
    judge_end();
    find_planted();
    layers_.clear();
    // Unlocked before anybody hears of the end; what is temporary is removed by remove_layers().
    if (layers_folder_ && !layers_folder_->temporary()) layers_folder_.reset();
    cgroup_.reset();
    if (exit_.reason.empty()) exit_.reason = "exited";
    started_.complete();
    ended_.complete();
}

asio::awaitable<CageExit> Cage::wait() {
    while (!ended_.done()) co_await ended_.wait_for(std::chrono::hours{24});
    co_return exit_;
}

asio::awaitable<void> Cage::stop(std::chrono::milliseconds grace) {
    auto self = shared_from_this();
    if (ended_.done()) co_return;
    if (exit_.reason.empty()) exit_.reason = "stopped";
    let_go();
    bool ended = false;
    if (grace.count() > 0 && signal(SIGTERM)) ended = co_await ended_.wait_for(grace);
    if (ended) co_return;
    kill_now();
    ended = co_await ended_.wait_for(kKillWait);
    if (ended) co_return;
    // The shim does not answer: without it bwrap ends too (--die-with-parent).
    kill_shim();
    ended = co_await ended_.wait_for(kKillWait);
    if (!ended)
        throw Error(Errc::internal, fmt::format("stop cage {}: processes are left", id_.str()));
}

bool Cage::signal(int number) {
    if (ended_.done()) return false;
    if (bare_) return ::kill(-shim_.pid(), number) == 0;
    if (!control_.is_open() || runner_pid_ < 0) return false;
    return send_packet(control_.native_handle(), wire::encode(wire::Signal{number}));
}

void Cage::kill_now() {
    if (bare_) {
        (void)::kill(-shim_.pid(), SIGKILL);
        return;
    }
    if (!control_.is_open() || !send_packet(control_.native_handle(), wire::encode_kill()))
        kill_shim();
}

void Cage::close_control() {
    boost::system::error_code ignored;
    control_.close(ignored);
}

void Cage::signal_all(int number) {
    if (bare_) {
        (void)::kill(-shim_.pid(), number);
        return;
    }
    for (const auto pid : processes())
        if (pid != init_pid_) (void)::kill(pid, number);
}

asio::awaitable<void> Cage::freeze() {
    auto self = shared_from_this();
    if (frozen_ || ended_.done()) co_return;
    frozen_ = true;
    if (cgroup_ && cgroup_->freeze(true)) co_return;
    // A process may fork while the others are being stopped, and a stop takes effect a moment
    // after the signal: again until all stand still.
    for (int round = 0; round < kFreezeRounds && frozen_; ++round) {
        signal_all(SIGSTOP);
        auto moving = processes();
        std::erase_if(moving, [&](pid_t pid) { return pid == init_pid_ || is_stopped(pid); });
        if (moving.empty()) co_return;
        const bool ended = co_await ended_.wait_for(kFreezePause);
        if (ended) co_return;
    }
    if (frozen_)
        throw Error(Errc::timeout, fmt::format("freeze cage {}: processes still run", id_.str()));
}

asio::awaitable<void> Cage::thaw() {
    let_go();
    co_return;
}

void Cage::let_go() {
    if (!frozen_) return;
    frozen_ = false;
    if (cgroup_ && cgroup_->freeze(false)) return;
    signal_all(SIGCONT);
}

std::vector<pid_t> Cage::processes() const {
    if (ended_.done()) return {};
    if (bare_) return family_of(shim_.pid());
    return processes_in(pid_namespace_);
}

asio::awaitable<UniqueFd> Cage::bind(SocketSpec spec, std::string name) {
    auto what = fmt::format("bind {} port {} in the cage", spec.address, spec.port);
    return request_socket(to_wire(spec), std::move(name), std::move(what));
}

asio::awaitable<UniqueFd> Cage::connect(std::uint16_t port) {
    auto self = shared_from_this();
    if (std::ranges::find(ports_, port, &PublishedPort::port) == ports_.end())
        throw Error(Errc::denied, fmt::format("port {} is not published by the cage", port));
    if (ended_.done()) throw Error(Errc::unavailable, "the cage has ended");
    if (bare_)
        throw Error(
            Errc::unavailable,
            fmt::format("the cage is disabled: port {} is the host's own, not published", port)
        );
    for (const auto family : {Loopback::v4, Loopback::v6}) {
        auto socket = take_outgoing(family);
        if (!socket) {
            auto order = OutgoingStock::order(family);
            auto what = fmt::format("reach port {} in the cage", port);
            socket = co_await request_socket(std::move(order), {}, std::move(what));
        }
        const int error = co_await connect_loopback(executor_, socket, family, port, kConnect);
        if (error == 0) co_return std::move(socket);
        if (error == ETIMEDOUT)
            throw Error(
                Errc::timeout, fmt::format("port {} in the cage accepts no connection", port)
            );
        if (error != ECONNREFUSED)
            throw Error(
                Errc::io, fmt::format("connect to port {} in the cage: {}", port, strerror(error))
            );
    }
    throw Error(Errc::unavailable, fmt::format("nothing listens on port {} in the cage", port));
}

bool Cage::listens(std::uint16_t port) const {
    return running() && !bare_ && runner_pid_ > 0 && listens_on(runner_pid_, port);
}

UniqueFd Cage::take_outgoing(Loopback family) {
    auto socket = outgoing_.take(family);
    if (!socket || !control_.is_open()) return socket;
    // Its successor comes while nobody waits.
    const wire::Bind next{++next_bind_, OutgoingStock::order(family), {}};
    if (send_packet(control_.native_handle(), wire::encode(next))) restocking_.insert(next.request);
    return socket;
}

asio::awaitable<UniqueFd> Cage::request_socket(
    wire::BindSpec spec, std::string name, std::string what
) {
    auto self = shared_from_this();
    if (!control_.is_open()) throw Error(Errc::unavailable, what + ": the cage has ended");
    PendingBind pending(executor_);
    const auto request = ++next_bind_;
    const wire::Bind frame{request, std::move(spec), std::move(name)};
    if (!send_packet(control_.native_handle(), wire::encode(frame))) throw_errno("send", what);
    binds_[request] = &pending;
    bool answered = false;
    try {
        answered = co_await pending.answered.wait_for(kAnswer);
    } catch (...) {
        binds_.erase(request);
        throw;
    }
    binds_.erase(request);
    if (!answered) throw Error(Errc::timeout, what + ": the shim does not answer");
    if (!pending.socket) throw Error(Errc::io, what + ": " + ::strerror(pending.error));
    co_return std::move(pending.socket);
}

}  // namespace volary::cage
