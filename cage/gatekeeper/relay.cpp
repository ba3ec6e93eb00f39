// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/relay.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <utility>

#include <boost/asio/post.hpp>

namespace volary::cage {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMaxPending = 64U * 1024U;
static_assert(kMaxPending >= kMaxClientHelloWire && kMaxPending >= kMaxHttpHead);
/// A direction that moved this much is bulk: from then on it is spliced. Below it, the two
/// descriptors and system calls of a pipe cost more than the copy saves.
constexpr std::uint64_t kSpliceFrom = 256U * 1024U;
constexpr std::size_t kSpliceSize = 256U * 1024U;
/// What one direction may move before others get their turn on the thread.
constexpr std::size_t kTurn = 512U * 1024U;
/// Addresses after this many are not tried.
constexpr std::size_t kMaxAttempts = 4;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

std::string private_form(const NetRule& rule) {
    return "{ to: \"" + rule.text + "\", private: true }";
}

}  // namespace

/// One direction of a relay. Plain data, passed by value into coroutines.
struct Session::Flow {
    DescriptorPtr from, to;
    std::uint64_t* moved = nullptr;
};

/// Counts the tasks of a session; the last one to end tells.
class Session::Running {
public:
    explicit Running(Session& session) : session_(session) { ++session_.running_; }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() {
        if (--session_.running_ == 0 && session_.ended_) session_.ended_(session_.connection());
    }

private:
    Session& session_;
};

Session::Session(SessionContext& context, UniqueFd client, SessionTarget target)
    : context_(context),
      target_(std::move(target)),
      judge_(expect(target_.rule, target_.name)),
      client_(make_descriptor(context.executor, std::move(client))),
      upgrade_(context.executor),
      deadline_(context.executor) {
    send_at_once(client_->native_handle());
}

asio::awaitable<void> Session::run(std::shared_ptr<Session> self) {
    const Running running(*self);
    co_await self->up();
}

asio::awaitable<void> Session::run_down(std::shared_ptr<Session> self) {
    const Running running(*self);
    co_await self->down();
}

asio::awaitable<void> Session::up() {
    if (judge_.raw()) {
        const bool connected = co_await connect();
        if (!connected) co_return;
    } else {
        const bool any = expect(target_.rule, target_.name).protocol == Expectation::Protocol::any;
        arm(any ? Phase::silence : Phase::head,
            any ? context_.config.silence : context_.config.head_timeout);
    }
    while (!judge_.raw()) {
        const auto read = co_await read_pending();
        bool go_on = read == Read::data || read == Read::silent;
        if (read == Read::data) go_on = co_await judge_pending();
        // A silent client waits for its peer's greeting; its own first bytes are judged all the
        // same when they come, so silence opens no way around the check.
        if (read == Read::silent && !upstream_) go_on = co_await connect();
        if (read == Read::end && upstream_) ::shutdown(upstream_->native_handle(), SHUT_WR);
        if (!go_on) co_return;
    }
    const Flow flow{client_, upstream_, &bytes_up_};
    const bool ended = co_await pump(flow);
    if (!ended) abort(verdict_);
}

asio::awaitable<void> Session::down() {
    if (expect_answer_) {
        const bool fine = co_await inspect_answer();
        if (!fine) co_return;
    }
    const Flow flow{upstream_, client_, &bytes_down_};
    const bool ended = co_await pump(flow);
    if (!ended) abort(verdict_);
}

asio::awaitable<Session::Read> Session::read_pending() {
    for (;;) {
        if (aborted_) co_return Read::over;
        const auto room = std::min(context_.scratch.size(), kMaxPending - pending_.size());
        const auto got = ::recv(client_->native_handle(), context_.scratch.data(), room, 0);
        if (got > 0) {
            pending_.append(context_.scratch.data(), static_cast<std::size_t>(got));
            moved_ = steady_clock::now();
            if (phase_ == Phase::silence) arm(Phase::head, context_.config.head_timeout);
            co_return Read::data;
        }
        if (got == 0) co_return Read::end;
        if (!would_block()) {
            abort(verdict_);
            co_return Read::over;
        }
        co_await client_->async_wait(Descriptor::wait_read, as_result);
        if (std::exchange(silent_, false)) co_return Read::silent;
    }
}

asio::awaitable<bool> Session::judge_pending() {
    for (;;) {
        auto step = judge_.look(pending_);
        if (step.kind == ClientJudge::Step::Kind::more) {
            if (pending_.size() >= kMaxPending) abort("host");
            co_return !aborted_;
        }
        if (step.kind == ClientJudge::Step::Kind::refuse) {
            refuse(step);
            co_return false;
        }
        // Before the dial: the answering task looks at it when it starts.
        if (judge_.awaiting_upgrade()) expect_answer_ = true;
        if (!upstream_) {
            const bool connected = co_await connect();
            if (!connected) co_return false;
        } else if (phase_ != Phase::relay) {
            arm(Phase::relay, context_.config.idle_timeout);
        }
        const bool sent = co_await send_all(upstream_, pending_.substr(0, step.bytes));
        if (!sent) {
            abort(verdict_);
            co_return false;
        }
        bytes_up_ += step.bytes;
        pending_.erase(0, step.bytes);
        while (judge_.awaiting_upgrade() && !aborted_) co_await upgrade_.wait();
        if (aborted_) co_return false;
    }
}

asio::awaitable<std::optional<Resolved>> Session::find_addresses() {
    Resolved resolved;
    const auto& rule = target_.rule;
    if (target_.address) {
        resolved.addresses = {*target_.address};
    } else if (rule.kind == NetRule::Kind::host) {
        resolved.addresses = {*parse_address("127.0.0.1"), *parse_address("::1")};
        resolved.trusted = true;
    } else {
        resolved = co_await context_.resolver.resolve(target_.name);
    }
    if (resolved.addresses.empty()) {
        abort("resolve");
        co_return std::nullopt;
    }
    const bool any_allowed = rule.allow_private || resolved.trusted;
    const auto first = resolved.addresses.front();
    const auto refused = [&](const Address& address) {
        if (is_unspecified(address) || is_v4_mapped(address)) return true;
        return !any_allowed && is_private(address);
    };
    std::erase_if(resolved.addresses, refused);
    if (resolved.addresses.empty()) {
        Denial denial;
        denial.layer = "net";
        const auto where = target_.address ? endpoint_text(first, rule.port)
                                           : target_.name + ":" + std::to_string(rule.port) +
                                                 " at " + first.text();
        denial.what = "private address, tcp " + where;
        denial.rule = private_form(rule);
        context_.deny(std::move(denial));
        abort("private");
        co_return std::nullopt;
    }
    co_return resolved;
}

asio::awaitable<bool> Session::connect() {
    // Resolving and dialling have deadlines of their own.
    deadline_.cancel();
    const auto resolved = co_await find_addresses();
    if (!resolved) co_return false;
    const auto port = resolved->port.value_or(target_.rule.port);
    const auto attempts = std::min(resolved->addresses.size(), kMaxAttempts);
    const auto patience = context_.config.connect_timeout / static_cast<int>(attempts);
    for (std::size_t i = 0; i < attempts && !upstream_; ++i) {
        const auto address = resolved->addresses[i];
        upstream_ = co_await connect_to(context_.executor, address, port, patience);
    }
    if (!upstream_ || context_.scope.closing()) {
        abort("connect");
        co_return false;
    }
    arm(Phase::relay, context_.config.idle_timeout);
    context_.scope.spawn("relay", run_down(shared_from_this()));
    co_return true;
}

asio::awaitable<bool> Session::send_all(DescriptorPtr to, std::string bytes) {
    std::string_view rest = bytes;
    while (!rest.empty()) {
        if (aborted_) co_return false;
        const auto sent = ::send(to->native_handle(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            rest.remove_prefix(static_cast<std::size_t>(sent));
            moved_ = steady_clock::now();
            continue;
        }
        if (!would_block()) co_return false;
        co_await to->async_wait(Descriptor::wait_write, as_result);
    }
    co_return true;
}

/// True when the direction ended with the sender's end of stream, passed on to the receiver.
asio::awaitable<bool> Session::pump(Flow flow) {
    while (!aborted_) {
        const auto got =
            ::recv(flow.from->native_handle(), context_.scratch.data(), context_.scratch.size(), 0);
        if (got == 0) {
            ::shutdown(flow.to->native_handle(), SHUT_WR);
            co_return true;
        }
        if (got < 0) {
            if (!would_block()) co_return false;
            co_await flow.from->async_wait(Descriptor::wait_read, as_result);
            continue;
        }
        moved_ = steady_clock::now();
        const std::string_view read(context_.scratch.data(), static_cast<std::size_t>(got));
        const auto sent = ::send(flow.to->native_handle(), read.data(), read.size(), MSG_NOSIGNAL);
        if (sent < 0 && !would_block()) co_return false;
        const auto done = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
        *flow.moved += read.size();
        if (done < read.size()) {
            // Copied before the wait: the scratch buffer belongs to whoever runs.
            const bool rest = co_await send_all(flow.to, std::string(read.substr(done)));
            if (!rest) co_return false;
        }
        if (*flow.moved >= kSpliceFrom) {
            const bool ended = co_await splice_all(flow);
            co_return ended;
        }
    }
    co_return false;
}

asio::awaitable<bool> Session::splice_all(Flow flow) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) co_return false;
    const UniqueFd out(ends[0]);
    const UniqueFd in(ends[1]);
    // Best effort: beyond the user's share the kernel keeps the default of 64 KiB.
    (void)::fcntl(in.get(), F_SETPIPE_SZ, static_cast<int>(kSpliceSize));
    constexpr unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    std::size_t turn = 0;
    while (!aborted_) {
        const auto got =
            ::splice(flow.from->native_handle(), nullptr, in.get(), nullptr, kSpliceSize, flags);
        if (got == 0) {
            ::shutdown(flow.to->native_handle(), SHUT_WR);
            co_return true;
        }
        if (got < 0) {
            if (!would_block()) co_return false;
            turn = 0;
            co_await flow.from->async_wait(Descriptor::wait_read, as_result);
            continue;
        }
        moved_ = steady_clock::now();
        const bool drained = co_await drain_pipe(flow, out.get(), static_cast<std::size_t>(got));
        if (!drained) co_return false;
        turn += static_cast<std::size_t>(got);
        if (turn >= kTurn) {
            turn = 0;
            co_await asio::post(context_.executor, asio::use_awaitable);
        }
    }
    co_return false;
}

asio::awaitable<bool> Session::drain_pipe(Flow flow, int pipe, std::size_t bytes) {
    constexpr unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    while (bytes > 0) {
        if (aborted_) co_return false;
        const auto put = ::splice(pipe, nullptr, flow.to->native_handle(), nullptr, bytes, flags);
        if (put > 0) {
            bytes -= static_cast<std::size_t>(put);
            *flow.moved += static_cast<std::uint64_t>(put);
            moved_ = steady_clock::now();
            continue;
        }
        if (put == 0 || !would_block()) co_return false;
        co_await flow.to->async_wait(Descriptor::wait_write, as_result);
    }
    co_return true;
}

asio::awaitable<bool> Session::inspect_answer() {
    constexpr std::string_view kSwitching = "HTTP/1.1 101";
    std::string start;
    while (start.size() < kSwitching.size() && !aborted_) {
        char buffer[kSwitching.size()];
        const auto room = kSwitching.size() - start.size();
        const auto got = ::recv(upstream_->native_handle(), buffer, room, 0);
        if (got > 0) {
            start.append(buffer, static_cast<std::size_t>(got));
            continue;
        }
        if (got == 0) break;
        if (!would_block()) {
            abort(verdict_);
            co_return false;
        }
        co_await upstream_->async_wait(Descriptor::wait_read, as_result);
    }
    judge_.upgrade_answered(start == kSwitching);
    upgrade_.notify();
    bytes_down_ += start.size();
    const bool sent = co_await send_all(client_, start);
    if (!sent) abort(verdict_);
    co_return sent;
}

void Session::arm(Phase phase, milliseconds timeout) {
    phase_ = phase;
    deadline_.expires_after(timeout);
    auto expired = [weak = weak_from_this()](const boost::system::error_code& error) {
        const auto self = weak.lock();
        if (!error && self) self->on_deadline();
    };
    deadline_.async_wait(std::move(expired));
}

void Session::on_deadline() {
    // An expiry that was already queued when the timer was set anew.
    if (deadline_.expiry() > steady_clock::now()) return;
    if (phase_ == Phase::silence) {
        silent_ = true;
        boost::system::error_code ignored;
        client_->cancel(ignored);
        return;
    }
    if (phase_ == Phase::head) {
        abort("idle");
        return;
    }
    const auto quiet = std::chrono::duration_cast<milliseconds>(steady_clock::now() - moved_);
    if (quiet >= context_.config.idle_timeout) {
        abort("idle");
    } else {
        arm(Phase::relay, context_.config.idle_timeout - quiet);
    }
}

void Session::refuse(const ClientJudge::Step& step) {
    Denial denial;
    denial.layer = step.layer;
    denial.what = step.what;
    denial.rule = step.rule;
    context_.deny(std::move(denial));
    abort(step.layer);
}

void Session::abort(std::string verdict) {
    if (aborted_) return;
    aborted_ = true;
    verdict_ = std::move(verdict);
    deadline_.cancel();
    boost::system::error_code ignored;
    for (const auto& side : {client_, upstream_}) {
        if (!side) continue;
        reset_on_close(side->native_handle());
        side->cancel(ignored);
    }
    upgrade_.notify();
}

Connection Session::connection() const {
    Connection connection;
    connection.at_ms = at_ms_;
    connection.name = target_.name;
    connection.port = target_.rule.port;
    connection.bytes_up = bytes_up_;
    connection.bytes_down = bytes_down_;
    connection.duration = std::chrono::duration_cast<milliseconds>(steady_clock::now() - started_);
    connection.verdict = verdict_;
    return connection;
}

}  // namespace volary::cage
