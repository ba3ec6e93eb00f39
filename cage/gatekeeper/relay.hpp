// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "cage/gatekeeper/data_plane.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/gatekeeper/judge.hpp"
#include "cage/gatekeeper/resolver.hpp"
#include "cage/gatekeeper/upstream.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <span>

namespace volary::cage {

/// What the sessions of all cages share; outlives them.
struct SessionServices {
    asio::any_io_executor executor;
    const GatekeeperConfig& config;
    Resolver& resolver;
    UpstreamOpener& opener;
    DataPlane& plane;
    /// One buffer for all reads of the thread: no coroutine waits while it holds bytes in it.
    std::span<char> scratch;
};

/// What the sessions of one cage share; outlives them.
struct SessionContext : SessionServices {
    std::string asker;  ///< the cage, where names are looked up
    std::shared_ptr<ByteBudget> budget;
    TaskScope& scope;
    std::function<void(Denial)> deny;
};

/// Whom a connection is for.
struct SessionTarget {
    NetRule rule;
    /// The name asked for (of a wildcard rule: the very name); else the address.
    std::string name;
    /// The address itself, for address and block rules.
    std::optional<Address> address;
    Expectation expectation;
};

/// One connection of a cage: judged, dialled, relayed both ways with half-close, told when over.
///
/// Two tasks of the context's scope hold it by shared pointer: one reads the client, one the peer.
/// A side that fails resets both. Bytes that wait for a slow peer stay in the kernel's socket
/// buffers, beyond them at most 64 KiB a direction. What becomes bulk goes to the data plane.
class Session : public std::enable_shared_from_this<Session> {
public:
    Session(SessionContext& context, UniqueFd client, SessionTarget target);

    static asio::awaitable<void> run(std::shared_ptr<Session> self);

    /// Called once, with the session's last word; set it before run().
    void on_end(std::function<void(Connection)> ended) { ended_ = std::move(ended); }

    /// How it stands now; `cage` and `open` are left to the receiver.
    Connection connection() const;

private:
    enum class Read { data, end, nothing, silent, over };
    enum class Phase { start, silence, head, relay };
    /// How a direction stands: only one that rests can be taken over by the data plane.
    enum class Way { busy, resting, ended };
    class Running;
    class Bulk;

    static asio::awaitable<void> run_down(std::shared_ptr<Session> self);
    asio::awaitable<void> up();
    asio::awaitable<void> down();
    Read take_pending();
    asio::awaitable<Read> read_pending();
    asio::awaitable<bool> judge_pending();
    asio::awaitable<bool> connect();
    void begin_relay();
    asio::awaitable<std::optional<UpstreamTarget>> find_upstream();
    bool may_reach(Resolved& resolved, bool by_proxy);
    void deny_private(const Address& address);
    void deny_upstream(const Upstream& upstream);
    asio::awaitable<bool> pump_up();
    asio::awaitable<bool> pump_down();
    asio::awaitable<bool> send_up(Secret bytes);
    asio::awaitable<bool> send_down(std::string bytes);
    asio::awaitable<bool> wait_upstream(Stream::State state);
    asio::awaitable<bool> bulk();
    bool bulk_now(Way other, std::uint64_t moved) const;
    bool hand_over();
    asio::awaitable<bool> inspect_answer();

    void arm(Phase phase, std::chrono::milliseconds timeout);
    void on_deadline();
    void note_moves();
    bool spend(std::uint64_t bytes);
    /// Until the cage may move bytes again.
    asio::awaitable<void> keep_pace();
    void over_budget();
    void refuse(const ClientJudge::Step& step);
    void abort(std::string verdict);

    SessionContext& context_;
    SessionTarget target_;
    ClientJudge judge_;
    DescriptorPtr client_;
    Upstream upstream_;
    /// Read from the client, not yet judged or passed on.
    std::string pending_;
    Notifier upgrade_;
    bool expect_answer_ = false;
    Way up_way_ = Way::busy;
    Way down_way_ = Way::busy;
    /// Set once the data plane has the connection, or its way down when requests are judged.
    std::shared_ptr<DataPlane::Pair> pair_;
    Notifier pair_ended_;

    Phase phase_ = Phase::start;
    bool relaying_ = false;
    bool silent_ = false;
    bool aborted_ = false;
    bool handed_ = false;  ///< both ways: this side has no sockets any more
    std::string verdict_ = "allowed";
    std::uint64_t bytes_up_ = 0;
    std::uint64_t bytes_down_ = 0;
    std::uint64_t bytes_seen_ = 0;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point moved_ = started_;
    UnixMillis at_ms_ = SystemClock().now_ms();
    std::function<void(Connection)> ended_;
    int running_ = 0;
    asio::steady_timer deadline_;
};

}  // namespace volary::cage
