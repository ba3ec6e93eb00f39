// SPDX-License-Identifier: Apache-2.0
// What a shim keeps while its daemon is away, and how the next one gets it: docs/shim.md.
#include "cage/shim/monotonic.hpp"
#include "cage/shim/shim.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>

namespace volary::cage {
namespace {

/// In /proc/sys/net/core/somaxconn's spirit: one daemon connects, a stray one may.
constexpr int kBacklog = 4;

UniqueFd take_fd(std::vector<UniqueFd>& fds, std::uint16_t index) {
    return index < fds.size() ? std::move(fds[index]) : UniqueFd();
}

/// Who connected has our own user: the same number as ours in whatever namespace we are.
bool is_ours(const UniqueFd& connection) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
    return who.uid == ::getuid();
}

}  // namespace

StepResult Shim::keep(const wire::Keep& keep, std::vector<UniqueFd>& fds) {
    keep_ = keep;
    listener_ = take_fd(fds, keep.listener);
    folder_ = take_fd(fds, keep.folder);
    record_ = take_fd(fds, keep.record);
    streams_.take(keep, fds, folder_.get());
    // The one who listens is who SO_PEERCRED names to a daemon that connects: us.
    if (listener_ && ::listen(listener_.get(), kBacklog) < 0) return step_error("listen", "shim");
    return {};
}

void Shim::hold(wire::HeldSocket what, UniqueFd socket) {
    // An unconnected stream becomes a connection, which must end with the daemon that made it.
    if (!keep_ || !socket || what.socket.kind == wire::BindSpec::Kind::outgoing) return;
    held_.push_back({std::move(what), std::move(socket)});
}

void Shim::daemon_gone() {
    blocked_ = false;
    alone_since_ = now_us() / 1000;
    streams_.detach();
    // Before the runner runs there is nothing to keep.
    if (!running_) kill_all();
}

void Shim::on_listener() {
    UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection || !is_ours(connection)) return;
    if (attached()) {
        const wire::Failed refusal{"attach", "another daemon is attached", EBUSY};
        (void)send_packet(connection.get(), wire::encode(refusal), {}, Wait::no);
        return;
    }
    control_ = std::move(connection);
    introduce();
}

void Shim::introduce() {
    wire::Attached all;
    all.shim = ::getpid();
    if (running_) all.started = started_;
    if (gone_) all.exited = exited_;
    all.failed = failure_;
    all.alone_ms = now_us() / 1000 - alone_since_;
    streams_.describe(all);
    std::vector<int> numbers;
    if (record_) numbers.push_back(record_.get());
    bool sent = send_packet(control_.get(), wire::encode(all), numbers) && send_held();
    for (const auto& call : std::exchange(untold_, {}))
        sent = sent && send_packet(control_.get(), wire::encode(call));
    if (sent) return;
    control_.reset();
    daemon_gone();
}

bool Shim::send_held() {
    std::size_t done = 0;
    do {
        const auto count = std::min(wire::kMaxFds - 1, held_.size() - done);
        wire::Held frame;
        std::vector<int> numbers;
        for (std::size_t i = done; i < done + count; ++i) {
            frame.sockets.push_back(held_[i].what);
            numbers.push_back(held_[i].socket.get());
        }
        done += count;
        frame.remaining = static_cast<std::uint32_t>(held_.size() - done);
        if (frame.remaining == 0 && packet_) numbers.push_back(packet_.get());
        if (!send_packet(control_.get(), wire::encode(frame), numbers)) return false;
    } while (done < held_.size());
    return true;
}

void Shim::on_keep_command(const Packet& packet) {
    const auto type = wire::type_of(packet.bytes);
    if (const auto resume = wire::decode_resume(packet.bytes)) return streams_.resume(*resume);
    if (const auto want = wire::decode_mark(wire::Type::want, packet.bytes))
        return streams_.want(*want);
    if (const auto ack = wire::decode_mark(wire::Type::ack, packet.bytes))
        return streams_.ack(*ack);
    if (auto input = wire::decode_input(packet.bytes)) return streams_.input(std::move(*input));
    if (type == wire::Type::input_end) return streams_.input_end();
    if (type == wire::Type::release) released_ = true;
}

bool Shim::over(std::uint64_t now_ms) {
    if (!keep_ || failed_) return gone_;
    if (gone_ && released_) return true;
    if (attached()) return false;
    if (now_ms - alone_since_ < std::uint64_t{keep_->orphan_seconds} * 1000) return false;
    if (!gone_ && !killing_) kill_all();
    return gone_;
}

int Shim::wait_ms(std::uint64_t now_ms) {
    const auto sooner = [](int a, int b) { return a < 0 ? b : b < 0 ? a : std::min(a, b); };
    int wait = sooner(notifier_.poll_wait(now_ms), streams_.wait_ms(now_ms));
    if (!keep_ || attached()) return wait;
    const auto until = alone_since_ + std::uint64_t{keep_->orphan_seconds} * 1000;
    const auto left = std::min<std::uint64_t>(until > now_ms ? until - now_ms : 1000, 3'600'000);
    return sooner(wait, static_cast<int>(left));
}

}  // namespace volary::cage
