// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/unique_fd.hpp"
#include "cage/gatekeeper/byte_pace.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace volary::cage {

/// Bytes that one cage may still move; shared by all its connections. `left` goes below zero once.
struct ByteBudget {
    bool limited = false;
    std::atomic<std::int64_t> left{0};
    BytePace pace;

    /// True when `bytes` more were too many.
    bool spend(std::uint64_t bytes) noexcept {
        if (!limited) return false;
        const auto taken = static_cast<std::int64_t>(bytes);
        return left.fetch_sub(taken, std::memory_order_relaxed) < taken;
    }
};

/// Moves the bytes of connections that became bulk, on a thread of its own, so that gigabytes do
/// not hold up the control thread. It owns pairs of sockets and nothing else: who may connect to
/// whom was decided before a pair comes here. Bytes go from socket to socket by splice(2) and are
/// never copied or looked at.
///
/// start() and the members of Pair are for the control thread. The thread starts with the first
/// pair and ends with the object; no lock is shared with it.
class DataPlane {
public:
    /// One connection. Dropping the pointer does not end it; abort() does.
    class Pair;
    enum class Outcome { running, ended, failed, over_budget };

    struct Request {
        UniqueFd client, peer;
        /// Which ways to pump; the other way is somebody else's.
        bool up = true;    ///< client to peer
        bool down = true;  ///< peer to client
        std::shared_ptr<ByteBudget> budget;
        /// Called on the control thread when every way that was asked for is over.
        std::function<void()> ended;
    };

    explicit DataPlane(asio::any_io_executor control);
    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;
    /// Drops every pair without a word.
    ~DataPlane();

    /// Throws Error{io} when the thread cannot start.
    std::shared_ptr<Pair> start(Request request);

private:
    class Thread;
    asio::any_io_executor control_;
    std::unique_ptr<Thread> thread_;
};

class DataPlane::Pair {
public:
    explicit Pair(Request request) : request_(std::move(request)) {}

    /// Resets both sockets; `ended` follows.
    void abort() noexcept;
    Outcome outcome() const noexcept { return outcome_.load(std::memory_order_acquire); }
    std::uint64_t bytes_up() const noexcept { return up_.load(std::memory_order_relaxed); }
    std::uint64_t bytes_down() const noexcept { return down_.load(std::memory_order_relaxed); }

private:
    friend class Thread;
    struct Way;
    Request request_;
    std::atomic<std::uint64_t> up_{0};
    std::atomic<std::uint64_t> down_{0};
    std::atomic<bool> aborted_{false};
    std::atomic<Outcome> outcome_{Outcome::running};
};

}  // namespace volary::cage
