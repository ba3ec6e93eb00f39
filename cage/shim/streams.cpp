// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/streams.hpp"

#include "cage/shim/channel.hpp"

#include <algorithm>
#include <cerrno>
#include <unistd.h>
#include <utility>

namespace volary::cage {
namespace {

/// Read at once: what leaves the memory for the spool's other bytes.
constexpr std::size_t kRead = std::size_t{16} * 1024;
/// Answers of which a new daemon is told that they were taken; more are not in work at once.
constexpr std::size_t kMaxTags = 256;
/// Of one session: greeting, session, prompt and their like.
constexpr std::size_t kMaxSticky = 32;
/// All tags together have to fit into one frame.
constexpr std::size_t kMaxTag = 256;

UniqueFd take_fd(std::vector<UniqueFd>& fds, std::uint16_t index) {
    return index < fds.size() ? std::move(fds[index]) : UniqueFd();
}

}  // namespace

void Streams::take(const wire::Keep& keep, std::vector<UniqueFd>& fds, int folder) {
    for (std::size_t i = 0; i < wire::kOutputs; ++i) {
        auto& stream = outputs_[i];
        stream.pipe = take_fd(fds, keep.outputs[i]);
        stream.ended = !stream.pipe;
        stream.lossy = keep.lossy[i];
        stream.spool = Spool(folder, keep.spool);
    }
    input_.pipe = take_fd(fds, keep.input);
    rate_ = keep.output_rate;
}

bool Streams::wants_bytes(const OutputStream& stream, bool attached) const {
    if (stream.ended) return false;
    return stream.spool.room() >= kRead || (stream.lossy && !attached);
}

void Streams::fill(pollfd* polls, bool attached, std::uint64_t now_ms) const {
    for (std::size_t i = 0; i < wire::kOutputs; ++i) {
        const bool now = wants_bytes(outputs_[i], attached) && now_ms >= next_read_;
        polls[i] = {now ? outputs_[i].pipe.get() : -1, POLLIN, 0};
    }
    const bool write = !input_.pending.empty();
    polls[wire::kOutputs] = {write ? input_.pipe.get() : -1, POLLOUT, 0};
}

int Streams::wait_ms(std::uint64_t now_ms) const {
    return now_ms < next_read_ ? static_cast<int>(next_read_ - now_ms) : -1;
}

void Streams::serve(const pollfd* polls, bool attached, std::uint64_t now_ms) {
    for (std::size_t i = 0; i < wire::kOutputs; ++i)
        if (polls[i].revents != 0) read_some(outputs_[i], attached, now_ms);
    if (polls[wire::kOutputs].revents != 0) write_input();
}

void Streams::read_some(OutputStream& stream, bool attached, std::uint64_t now_ms) {
    if (stream.ended) return;
    char bytes[kRead];
    // A tenth of a second's worth at once, so that a slow pace is an even one.
    const auto step = rate_ == 0 ? kRead : std::clamp<std::uint64_t>(rate_ / 10, 1, kRead);
    const auto got = ::read(stream.pipe.get(), bytes, step);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        stream.ended = true;
        stream.pipe.reset();
        return;
    }
    const auto size = static_cast<std::size_t>(got);
    if (rate_ != 0) next_read_ = std::max(next_read_, now_ms) + size * 1000 / rate_;
    const auto room = stream.spool.room();
    if (room < size && stream.lossy && !attached) {
        const auto before = stream.spool.base();
        stream.spool.forget(before + (size - room));
        stream.dropped += stream.spool.base() - before;
    }
    stream.spool.append({bytes, size});
}

bool Streams::send(int control) {
    if (input_.told < input_.taken) {
        if (!send_packet(control, wire::encode_input_taken(input_.taken), {}, Wait::no))
            return errno == EAGAIN;
        input_.told = input_.taken;
    }
    // In turns, so that a talkative stream does not hold up the others.
    for (bool sent = true; sent;) {
        sent = false;
        for (std::size_t i = 0; i < wire::kOutputs; ++i) {
            errno = 0;
            if (send_one(control, i))
                sent = true;
            else if (errno == EAGAIN)
                return true;
        }
    }
    return false;
}

bool Streams::send_one(int control, std::size_t number) {
    auto& stream = outputs_[number];
    const auto name = static_cast<wire::Stream>(number);
    if (!stream.resumed || stream.end_told) return false;
    if (stream.sent < stream.spool.base()) {
        const wire::Dropped gap{name, stream.sent, stream.spool.base() - stream.sent};
        if (!send_packet(control, wire::encode(gap), {}, Wait::no)) return false;
        stream.sent = stream.spool.base();
        return true;
    }
    const auto until = std::min(stream.spool.end(), stream.allowed);
    if (stream.sent < until) {
        const auto most = std::min<std::uint64_t>(wire::kMaxPiece, until - stream.sent);
        wire::Output piece{name, stream.sent, stream.spool.read(stream.sent, most)};
        const auto size = piece.bytes.size();
        if (size == 0) {
            // Somebody cut our file: what was in it is gone, and told.
            stream.dropped += stream.spool.next_whole() - stream.sent;
            stream.spool.forget(stream.spool.next_whole());
            return true;
        }
        if (!send_packet(control, wire::encode(piece), {}, Wait::no)) return false;
        stream.sent += size;
        return true;
    }
    if (!stream.ended || stream.sent < stream.spool.end()) return false;
    const wire::Mark end{name, stream.sent};
    if (!send_packet(control, wire::encode(wire::Type::output_end, end), {}, Wait::no))
        return false;
    stream.end_told = true;
    return true;
}

void Streams::resume(const wire::Resume& resume) {
    auto& stream = outputs_[static_cast<std::size_t>(resume.stream)];
    stream.resumed = true;
    stream.end_told = false;
    stream.sent = std::min(resume.from, stream.spool.end());
    stream.allowed = resume.up_to;
}

void Streams::want(const wire::Mark& mark) {
    auto& stream = outputs_[static_cast<std::size_t>(mark.stream)];
    stream.allowed = std::max(stream.allowed, mark.offset);
}

void Streams::ack(const wire::Mark& mark) {
    auto& stream = outputs_[static_cast<std::size_t>(mark.stream)];
    // Never beyond what was sent: what nobody has seen cannot be durable.
    stream.spool.forget(std::min(mark.offset, stream.sent));
}

bool Streams::known(const std::string& tag) const {
    const auto in = [&](const auto& list) {
        return std::find(list.begin(), list.end(), tag) != list.end();
    };
    return !tag.empty() && (in(input_.sticky) || in(input_.tags));
}

void Streams::input(wire::Input input) {
    input_.partial += input.bytes;
    if (input.more) return;
    auto message = std::exchange(input_.partial, {});
    if (known(input.tag)) return;
    if (input.tag.size() > kMaxTag) input.tag.clear();
    if (!input.tag.empty() && input.sticky && input_.sticky.size() < kMaxSticky) {
        input_.sticky.push_back(std::move(input.tag));
    } else if (!input.tag.empty()) {
        input_.tags.push_back(std::move(input.tag));
        if (input_.tags.size() > kMaxTags) input_.tags.pop_front();
    }
    input_.pending += message;
    write_input();
}

void Streams::input_end() {
    input_.closing = true;
    write_input();
}

void Streams::write_input() {
    auto& in = input_;
    while (in.pipe && !in.pending.empty()) {
        const auto put = ::write(in.pipe.get(), in.pending.data(), in.pending.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) return;
        if (put <= 0) {
            // Nobody reads it any more; that is not an error of who writes.
            in.pipe.reset();
            break;
        }
        in.taken += static_cast<std::uint64_t>(put);
        in.pending.erase(0, static_cast<std::size_t>(put));
    }
    if (!in.pipe) {
        in.taken += in.pending.size();
        in.pending.clear();
    }
    if (in.pending.empty()) in.pending.shrink_to_fit();
    if (in.closing && in.pending.empty()) in.pipe.reset();
}

void Streams::detach() {
    for (auto& stream : outputs_) stream.resumed = false;
    input_.partial.clear();
    input_.told = input_.taken;
}

void Streams::finish(bool attached) {
    for (auto& stream : outputs_) {
        while (wants_bytes(stream, attached)) {
            const auto before = stream.spool.end();
            read_some(stream, attached, 0);
            if (stream.spool.end() == before) break;
        }
    }
}

void Streams::describe(wire::Attached& out) const {
    for (std::size_t i = 0; i < wire::kOutputs; ++i) {
        const auto& stream = outputs_[i];
        out.streams[i] = {stream.spool.base(), stream.spool.end(), stream.dropped, stream.ended};
    }
    out.input_taken = input_.taken;
    out.input_ended = !input_.pipe;
    out.tags = input_.sticky;
    out.tags.insert(out.tags.end(), input_.tags.begin(), input_.tags.end());
}

}  // namespace volary::cage
