// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/protocol.hpp"
#include "cage/shim/spool.hpp"

#include <deque>
#include <poll.h>
#include <string>
#include <vector>

namespace volary::cage {

/// The runner's streams, kept by the shim: what it says goes into a spool and from there to the
/// daemon that asks for it; what it is told waits here until its pipe takes it.
class Streams {
public:
    /// One more than the outputs: the input.
    static constexpr std::size_t kPolls = wire::kOutputs + 1;

    /// Takes the pipes out of `fds`; `folder` (or -1) must stay open.
    void take(const wire::Keep& keep, std::vector<UniqueFd>& fds, int folder);

    /// What to poll for; `attached`: a daemon is there, which is waited for rather than dropped.
    void fill(pollfd* polls, bool attached, std::uint64_t now_ms) const;
    /// Milliseconds until the pace allows more; -1: nothing waits for that.
    int wait_ms(std::uint64_t now_ms) const;
    void serve(const pollfd* polls, bool attached, std::uint64_t now_ms);

    /// Sends what the daemon wants and the socket takes; true when it would take more later.
    bool send(int control);

    void resume(const wire::Resume& resume);
    void want(const wire::Mark& mark);
    void ack(const wire::Mark& mark);
    void input(wire::Input input);
    void input_end();

    /// No daemon is there: what it was sending is forgotten, what it was sent counts as not had.
    void detach();
    /// No process is left that could say more.
    void finish(bool attached);
    /// Its part of what a new daemon is told.
    void describe(wire::Attached& out) const;

private:
    struct OutputStream {
        UniqueFd pipe;
        Spool spool;
        bool lossy = false;
        bool ended = true;
        bool resumed = false;
        bool end_told = false;
        std::uint64_t sent = 0;
        std::uint64_t allowed = 0;
        std::uint64_t dropped = 0;
    };
    struct InputStream {
        UniqueFd pipe;
        std::string pending;
        std::string partial;  ///< of a message whose last frame is still to come
        bool closing = false;
        std::uint64_t taken = 0;
        std::uint64_t told = 0;
        std::vector<std::string> sticky;
        std::deque<std::string> tags;
    };

    bool wants_bytes(const OutputStream& stream, bool attached) const;
    void read_some(OutputStream& stream, bool attached, std::uint64_t now_ms);
    bool send_one(int control, std::size_t number);
    void write_input();
    bool known(const std::string& tag) const;

    OutputStream outputs_[wire::kOutputs];
    InputStream input_;
    std::uint64_t rate_ = 0;       ///< bytes a second; 0: any
    std::uint64_t next_read_ = 0;  ///< ms; nothing is read before
};

}  // namespace volary::cage
