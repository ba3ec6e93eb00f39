// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/relay.hpp"

#include "base/error.hpp"

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
/// A direction that moved this much is bulk: from then on the data plane has it. Below it, the hop
/// to another thread costs more than it saves.
constexpr std::uint64_t kBulkFrom = 128U * 1024U;
/// What one direction may move here before others get their turn on the thread.
constexpr std::size_t kTurn = 128U * 1024U;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

UniqueFd duplicate(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

UniqueFd release(const DescriptorPtr& descriptor) { return UniqueFd(descriptor->release()); }

}  // namespace

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

/// Ends the data plane's part when the waiting task is cancelled.
class Session::Bulk {
public:
    explicit Bulk(std::shared_ptr<DataPlane::Pair> pair) : pair_(std::move(pair)) {}
    Bulk(const Bulk&) = delete;
    Bulk& operator=(const Bulk&) = delete;
    ~Bulk() {
        if (running()) pair_->abort();
    }
    bool running() const { return pair_->outcome() == DataPlane::Outcome::running; }

private:
    std::shared_ptr<DataPlane::Pair> pair_;
};

Session::Session(SessionContext& context, UniqueFd client, SessionTarget target)
    : context_(context),
      target_(std::move(target)),
      judge_(target_.expectation),
      client_(make_descriptor(context.executor, std::move(client))),
      upgrade_(context.executor),
      pair_ended_(context.executor),
      deadline_(context.executor) {}

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
        // Nobody waits for the client to speak; what it said goes along.
        const auto said = take_pending();
        if (said == Read::over) co_return;
        bool open = false;
        if (said == Read::data) open = co_await judge_pending();
        if (said != Read::data) open = co_await connect();
        if (!open) co_return;
        begin_relay();
    }
    while (!judge_.raw()) {
        const auto read = co_await read_pending();
        bool go_on = read == Read::data || read == Read::silent;
        if (read == Read::data) go_on = co_await judge_pending();
        // A silent client waits for its peer's greeting; its own first bytes are judged all the
        // same when they come, so silence opens no way around the check.
        if (read == Read::silent && !upstream_.stream) {
            go_on = co_await connect();
            if (go_on) begin_relay();
        }
        if (read == Read::end && upstream_.stream) upstream_.stream->finish();
        if (!go_on) co_return;
    }
    const bool ended = co_await pump_up();
    if (!ended) abort(verdict_);
}

asio::awaitable<void> Session::down() {
    if (!upstream_.early.empty()) {
        const auto early = std::exchange(upstream_.early, {});
        bytes_down_ += early.size();
        const bool sent = co_await send_down(early);
        if (!sent) co_return abort(verdict_);
    }
    if (expect_answer_) {
        const bool fine = co_await inspect_answer();
        if (!fine) co_return;
    }
    const bool ended = co_await pump_down();
    if (!ended) abort(verdict_);
}

Session::Read Session::take_pending() {
    if (aborted_) return Read::over;
    const auto room = std::min(context_.scratch.size(), kMaxPending - pending_.size());
    const auto got = ::recv(client_->native_handle(), context_.scratch.data(), room, 0);
    if (got == 0) return Read::end;
    if (got < 0 && would_block()) return Read::nothing;
    if (got < 0) {
        abort(verdict_);
        return Read::over;
    }
    pending_.append(context_.scratch.data(), static_cast<std::size_t>(got));
    moved_ = steady_clock::now();
    if (phase_ == Phase::silence) arm(Phase::head, context_.config.head_timeout);
    return Read::data;
}

asio::awaitable<Session::Read> Session::read_pending() {
    for (;;) {
        const auto read = take_pending();
        if (read != Read::nothing) co_return read;
        // Only who lets us wait needs a deadline: most clients have spoken when they are accepted.
        if (phase_ == Phase::start) {
            const bool any = target_.expectation.protocol == Expectation::Protocol::any;
            const bool may_listen = any && pending_.empty();
            arm(may_listen ? Phase::silence : Phase::head,
                may_listen ? context_.config.silence : context_.config.head_timeout);
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
        if (!upstream_.stream) {
            const bool connected = co_await connect();
            if (!connected) co_return false;
        }
        auto out = std::move(step.instead);
        if (out.empty()) out = Secret(pending_.substr(0, step.bytes));
        const bool sent = co_await send_up(std::move(out));
        if (!sent) {
            abort(verdict_);
            co_return false;
        }
        begin_relay();
        pending_.erase(0, step.bytes);
        while (judge_.awaiting_upgrade() && !aborted_) co_await upgrade_.wait();
        if (aborted_ || !spend(step.bytes)) co_return false;
        // What the cage sent, not what the credential made of it.
        bytes_up_ += step.bytes;
        co_await keep_pace();
        if (aborted_) co_return false;
    }
}

asio::awaitable<bool> Session::wait_upstream(Stream::State state) {
    const bool waits = state == Stream::State::wait_read || state == Stream::State::wait_write;
    if (!waits || aborted_) co_return false;
    const auto type =
        state == Stream::State::wait_read ? Descriptor::wait_read : Descriptor::wait_write;
    co_await upstream_.socket->async_wait(type, as_result);
    co_return !aborted_;
}

asio::awaitable<bool> Session::send_up(Secret bytes) {
    std::string_view rest = bytes.reveal();
    while (!rest.empty()) {
        if (aborted_) co_return false;
        const auto step = upstream_.stream->write(rest);
        if (step.state == Stream::State::some) {
            rest.remove_prefix(step.bytes);
            moved_ = steady_clock::now();
            continue;
        }
        begin_relay();
        const bool ready = co_await wait_upstream(step.state);
        if (!ready) co_return false;
    }
    co_return true;
}

asio::awaitable<bool> Session::send_down(std::string bytes) {
    std::string_view rest = bytes;
    while (!rest.empty()) {
        if (aborted_) co_return false;
        const auto sent = ::send(client_->native_handle(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            rest.remove_prefix(static_cast<std::size_t>(sent));
            moved_ = steady_clock::now();
            continue;
        }
        if (!would_block()) co_return false;
        co_await client_->async_wait(Descriptor::wait_write, as_result);
    }
    co_return true;
}

/// True when the direction ended with the sender's end of stream, passed on to the receiver, or is
/// somebody else's now.
asio::awaitable<bool> Session::pump_up() {
    while (!aborted_) {
        if (bulk_now(down_way_, bytes_up_) && hand_over()) {
            const bool ended = co_await bulk();
            co_return ended;
        }
        co_await keep_pace();
        const auto got =
            ::recv(client_->native_handle(), context_.scratch.data(), context_.scratch.size(), 0);
        if (got == 0) {
            upstream_.stream->finish();
            up_way_ = Way::ended;
            co_return true;
        }
        if (got < 0) {
            if (!would_block()) co_return false;
            up_way_ = Way::resting;
            co_await client_->async_wait(Descriptor::wait_read, as_result);
            if (handed_) co_return true;
            up_way_ = Way::busy;
            continue;
        }
        const std::string_view read(context_.scratch.data(), static_cast<std::size_t>(got));
        const auto step = upstream_.stream->write(read);
        if (step.state == Stream::State::failed || step.state == Stream::State::end)
            co_return false;
        bytes_up_ += read.size();
        moved_ = steady_clock::now();
        if (!spend(read.size())) co_return false;
        // Copied before the wait: the scratch buffer belongs to whoever runs.
        if (step.bytes < read.size()) {
            const bool rest = co_await send_up(Secret(std::string(read.substr(step.bytes))));
            if (!rest) co_return false;
        }
        if (bytes_up_ % kTurn < read.size())
            co_await asio::post(context_.executor, asio::use_awaitable);
    }
    co_return false;
}

asio::awaitable<bool> Session::pump_down() {
    while (!aborted_) {
        if (bulk_now(up_way_, bytes_down_) && hand_over()) {
            const bool ended = co_await bulk();
            co_return ended;
        }
        co_await keep_pace();
        const auto step = upstream_.stream->read(context_.scratch);
        if (step.state == Stream::State::end) {
            ::shutdown(client_->native_handle(), SHUT_WR);
            down_way_ = Way::ended;
            co_return true;
        }
        if (step.state != Stream::State::some) {
            down_way_ = Way::resting;
            const bool ready = co_await wait_upstream(step.state);
            if (handed_) co_return true;
            if (!ready) co_return false;
            down_way_ = Way::busy;
            continue;
        }
        const std::string_view read(context_.scratch.data(), step.bytes);
        const auto sent = ::send(client_->native_handle(), read.data(), read.size(), MSG_NOSIGNAL);
        if (sent < 0 && !would_block()) co_return false;
        bytes_down_ += read.size();
        moved_ = steady_clock::now();
        if (!spend(read.size())) co_return false;
        const auto done = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
        if (done < read.size()) {
            const bool rest = co_await send_down(std::string(read.substr(done)));
            if (!rest) co_return false;
        }
        if (bytes_down_ % kTurn < read.size())
            co_await asio::post(context_.executor, asio::use_awaitable);
    }
    co_return false;
}

bool Session::bulk_now(Way other, std::uint64_t moved) const {
    if (moved < kBulkFrom || pair_ || !upstream_.stream->plain()) return false;
    // Where requests are judged only the way down may go: the way up is read by the judge.
    return judge_.raw() ? other != Way::busy : true;
}

/// Gives the sockets to the data plane; false when that cannot be, and all stays as it is.
bool Session::hand_over() {
    DataPlane::Request request;
    const bool both = judge_.raw();
    if (both) {
        request.up = up_way_ != Way::ended;
        request.down = down_way_ != Way::ended;
        // Releasing ends the other way's wait, which then sees `handed_`.
        handed_ = true;
        request.client = release(client_);
        request.peer = release(upstream_.socket);
    } else {
        request.up = false;
        request.client = duplicate(client_->native_handle());
        request.peer = duplicate(upstream_.socket->native_handle());
        if (!request.client || !request.peer) return false;
    }
    request.budget = context_.budget;
    request.ended = [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->pair_ended_.notify();
    };
    pair_ = context_.plane.start(std::move(request));
    return true;
}

asio::awaitable<bool> Session::bulk() {
    const Bulk bulk(pair_);
    while (bulk.running()) co_await pair_ended_.wait();
    if (pair_->outcome() == DataPlane::Outcome::over_budget) over_budget();
    co_return pair_->outcome() == DataPlane::Outcome::ended;
}

asio::awaitable<bool> Session::inspect_answer() {
    constexpr std::string_view kSwitching = "HTTP/1.1 101";
    std::string start;
    while (start.size() < kSwitching.size() && !aborted_) {
        char buffer[kSwitching.size()];
        const auto room = kSwitching.size() - start.size();
        const auto step = upstream_.stream->read(std::span(buffer).first(room));
        if (step.state == Stream::State::some) {
            start.append(buffer, step.bytes);
            continue;
        }
        if (step.state == Stream::State::end) break;
        const bool ready = co_await wait_upstream(step.state);
        if (!ready) {
            abort(verdict_);
            co_return false;
        }
    }
    judge_.upgrade_answered(start == kSwitching);
    upgrade_.notify();
    bytes_down_ += start.size();
    const bool sent = co_await send_down(start);
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

void Session::note_moves() {
    const auto now = connection();
    const auto total = now.bytes_up + now.bytes_down;
    // What the data plane moves is seen here only: its last byte counts as moved now.
    if (pair_ && total != bytes_seen_) moved_ = steady_clock::now();
    bytes_seen_ = total;
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
    note_moves();
    const auto quiet = std::chrono::duration_cast<milliseconds>(steady_clock::now() - moved_);
    if (quiet >= context_.config.idle_timeout) {
        abort("idle");
    } else {
        arm(Phase::relay, context_.config.idle_timeout - quiet);
    }
}

asio::awaitable<void> Session::keep_pace() {
    // In parts, so that an end of the session is not waited out.
    constexpr BytePace::Wait kPart = milliseconds{200};
    while (!aborted_) {
        const auto wait = context_.budget->pace.wait(steady_clock::now());
        if (wait.count() == 0) co_return;
        asio::steady_timer timer(context_.executor, std::min(wait, kPart));
        co_await timer.async_wait(as_result);
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) co_return;
    }
}

bool Session::spend(std::uint64_t bytes) {
    context_.budget->pace.charge(bytes, steady_clock::now());
    if (!context_.budget->spend(bytes)) return true;
    over_budget();
    return false;
}

void Session::over_budget() {
    Denial denial;
    denial.layer = "limit";
    denial.what = "more than " + std::to_string(context_.config.max_bytes.value_or(0)) + " bytes";
    context_.deny(std::move(denial));
    abort("limit");
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
    if (pair_) pair_->abort();
    boost::system::error_code ignored;
    for (const auto& side : {client_, upstream_.socket}) {
        if (!side || !side->is_open()) continue;
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
    connection.bytes_up = bytes_up_ + (pair_ ? pair_->bytes_up() : 0);
    connection.bytes_down = bytes_down_ + (pair_ ? pair_->bytes_down() : 0);
    connection.duration = std::chrono::duration_cast<milliseconds>(steady_clock::now() - started_);
    connection.verdict = verdict_;
    return connection;
}

}  // namespace volary::cage
