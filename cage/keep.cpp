// SPDX-License-Identifier: Apache-2.0
// A cage whose shim keeps its streams and outlives this daemon: docs/shim.md.
#include "base/error.hpp"
#include "cage/cage.hpp"
#include "cage/net_plan.hpp"
#include "cage/processes.hpp"

#include <cerrno>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace volary::cage {
namespace {

/// Plain function, so that the lambda which calls it holds no coroutine state (rule C4).
asio::awaitable<UniqueFd> bind_later(std::weak_ptr<Cage> weak, SocketSpec spec, std::string name) {
    auto cage = weak.lock();
    if (!cage) throw Error(Errc::unavailable, "the cage has ended");
    co_return co_await cage->bind(std::move(spec), std::move(name));
}

}  // namespace

std::function<asio::awaitable<UniqueFd>(SocketSpec, std::string)> Cage::binder(
    const std::shared_ptr<Cage>& cage
) {
    const std::weak_ptr<Cage> weak = cage;
    return [weak](SocketSpec spec, std::string name) {
        return bind_later(weak, std::move(spec), std::move(name));
    };
}

RunnerStreams& Cage::streams() {
    if (!streams_)
        streams_ = make_pipe_streams(
            executor_, std::move(stdin_), std::move(stdout_), std::move(stderr_),
            std::move(signals_)
        );
    return *streams_;
}

void Cage::start_at(Stream stream, std::uint64_t offset) {
    if (kept_ != nullptr) kept_->start_at(stream, offset);
}

std::uint64_t Cage::begins_at(Stream stream) const {
    return kept_ != nullptr ? kept_->begins_at(stream) : 0;
}

void Cage::leave() {
    if (kept_ == nullptr) return;
    left_ = true;
    shim_.leave();
    adopted_shim_.reset();
    close_control();
}

void Cage::release() {
    if (kept_ == nullptr) return;
    released_ = true;
    (void)post(wire::encode_release());
}

void Cage::keep_streams() {
    auto send = [this](const std::string& frame) { return post(frame); };
    auto streams = std::make_unique<ShimStreams>(executor_, std::move(send));
    kept_ = streams.get();
    streams_ = std::move(streams);
}

bool Cage::post(const std::string& frame) {
    if (!control_.is_open()) return false;
    if (outbox_.empty()) {
        if (send_packet(control_.native_handle(), frame)) return true;
        // A shim that has gone is seen by serve().
        if (errno != EAGAIN) return false;
    }
    outbox_.push_back(frame);
    outbox_ready_.notify();
    return true;
}

asio::awaitable<void> Cage::push_frames(std::shared_ptr<Cage> self) {
    while (self->control_.is_open()) {
        if (self->outbox_.empty()) {
            co_await self->outbox_ready_.wait();
            continue;
        }
        if (send_packet(self->control_.native_handle(), self->outbox_.front())) {
            self->outbox_.pop_front();
            continue;
        }
        if (errno != EAGAIN) co_return;
        co_await self->control_.async_wait(asio::posix::stream_descriptor::wait_write, as_result);
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) co_return;
    }
}

asio::awaitable<void> Cage::conclude(std::shared_ptr<Cage> self) {
    while (!self->emptied_.done()) co_await self->emptied_.wait_for(std::chrono::hours{24});
    // What its network still has to tell comes before its end: who hears of that forgets the cage.
    if (self->detach_) co_await self->detach_();
    self->finish();
}

asio::awaitable<void> Cage::shim_end() {
    if (shim_.running()) {
        co_await shim_.wait();
        co_return;
    }
    if (!adopted_shim_) co_return;
    asio::posix::stream_descriptor watch(executor_, adopted_shim_.get());
    co_await watch.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
    (void)watch.release();
}

void Cage::kill_shim() {
    if (adopted_shim_)
        (void)::syscall(SYS_pidfd_send_signal, adopted_shim_.get(), SIGKILL, nullptr, 0);
    else
        (void)shim_.send_signal(SIGKILL);
}

KeptRecord Cage::record(const SpawnRequest& request, const CompiledCage& compiled) const {
    KeptRecord out;
    out.id = id_;
    out.owner = request.keep->owner;
    out.limits = limits_;
    out.net = request.policy.net;
    out.internal_names = request.internal_names;
    out.ports = ports_;
    out.workspace = workspace_;
    out.places = places_;
    out.writable = writable_;
    out.private_folders = private_folders_;
    out.unheld = unheld_;
    out.layers = report_.layers;
    out.limits_backend = report_.limits_backend;
    if (layers_folder_) out.layers_folder = layers_folder_->path();
    for (const auto& overlay : compiled.overlays) out.overlay_targets.push_back(overlay.target);
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    out.made_at_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
    return out;
}

void Cage::take_over(const KeptRecord& record, const wire::Attached& state) {
    limits_ = record.limits;
    workspace_ = record.workspace;
    places_ = record.places;
    writable_ = record.writable;
    private_folders_ = record.private_folders;
    unheld_ = record.unheld;
    report_.layers = record.layers;
    report_.limits_backend = record.limits_backend;
    report_.shim_pid = state.shim;
    alone_ = std::chrono::milliseconds(state.alone_ms);
    taken_tags_ = state.tags;
    kept_->input_was(state.input_taken);
    started_at_ =
        std::chrono::steady_clock::time_point(std::chrono::microseconds(record.made_at_us));
    if (!record.layers_folder.empty()) {
        layers_folder_.emplace(LayersFolder::open(record.layers_folder));
        for (const auto& target : record.overlay_targets) {
            const auto upper = record.layers_folder + "/" + layer_name(target) + "/upper";
            layers_.emplace_back(
                ::open(upper.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            );
        }
    }
    if (state.started) {
        runner_pid_ = report_.runner_pid = state.started->runner;
        init_pid_ = state.started->init;
        pid_namespace_ = pid_namespace(init_pid_);
        report_.net_setup = std::chrono::microseconds(state.started->net_setup_us);
    }
    started_.complete();
    if (!state.exited) return;
    ended_alone_ = true;
    exit_.status = {state.exited->code, state.exited->signal};
    exit_.cpu_time = std::chrono::microseconds(state.exited->user_us + state.exited->system_us);
    exit_.max_rss_kb = state.exited->max_rss_kb;
    emptied_.complete();
}

}  // namespace volary::cage
