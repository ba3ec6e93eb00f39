// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/connection.hpp"

#include "base/log.hpp"
#include "daemon/http/proxy.hpp"
#include "daemon/http/websocket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

namespace volary::http {
namespace {

/// One request of a browser fits; larger bodies grow it.
constexpr std::size_t kFirstBuffer = 4096;
/// Reads of a body: few system calls without much memory.
constexpr std::size_t kLargestRead = std::size_t{64} << 10U;
/// Up to here copying a body behind its head is cheaper than a second buffer in the call.
constexpr std::size_t kCopyBody = std::size_t{16} << 10U;
/// Answers to pipelined requests are sent together, but not more than this.
constexpr std::size_t kFlushAt = std::size_t{64} << 10U;
/// How long and how much a refused sender may go on, so that it reads the answer and not a reset.
constexpr std::chrono::milliseconds kLinger{2'000};
constexpr std::size_t kMaxDiscarded = std::size_t{16} << 20U;

bool has_body_by_status(int status) { return status >= 200 && status != 204 && status != 304; }

}  // namespace

Connection::Connection(std::shared_ptr<ServerContext> context, Stream socket, Peer peer)
    : context_(std::move(context)),
      socket_(std::move(socket)),
      parser_(context_->options.max_header) {
    request_.peer = std::move(peer);
    place_ = context_->connections.insert(context_->connections.end(), this);
}

Connection::~Connection() {
    context_->connections.erase(place_);
    context_->gone();
}

void Connection::set_deadline(std::chrono::milliseconds from_now) {
    deadline_ = std::chrono::steady_clock::now() + from_now;
}

void Connection::start() {
    in_.resize(kFirstBuffer);
    parser_.start(request_);
    set_deadline(context_->options.header_deadline);
    read();
}

void Connection::check_deadline(TimePoint now) {
    if (exchange_ != nullptr) return exchange_->check(now);
    if (now < deadline_) return;
    const bool mid_request = phase_ == Phase::header || phase_ == Phase::body;
    if (phase_ == Phase::judging || phase_ == Phase::handling || phase_ == Phase::gone) return;
    if (!mid_request) return abort();
    // The read that is under way ends with the socket; what it holds is not looked at any more.
    keep_alive_ = false;
    body_pending_ = true;
    respond(Response::error(408, Errc::timeout, "the request did not arrive in time"));
}

void Connection::wind_down() {
    keep_alive_ = false;
    if (phase_ == Phase::idle || phase_ == Phase::header || exchange_ != nullptr) abort();
}

void Connection::abort() {
    phase_ = Phase::gone;
    if (exchange_ != nullptr) exchange_->cut();
    boost::system::error_code ignored;
    socket_.close(ignored);
}

void Connection::read() {
    reading_ = true;
    auto handler = [self = shared_from_this()](boost::system::error_code error, std::size_t bytes) {
        self->reading_ = false;
        if (self->phase_ == Phase::gone) return;
        if (error) return self->abort();
        self->on_read(bytes);
    };
    socket_.async_read_some(asio::buffer(in_.data() + end_, in_.size() - end_), std::move(handler));
}

/// A client that is quick has sent its next request when the loop comes by again: one system call
/// then reads it, where reading at once would first be told that there is nothing yet.
void Connection::read_later() {
    reading_ = true;
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
        if (self->phase_ != Phase::gone) self->read();
    });
}

void Connection::on_read(std::size_t bytes) {
    if (phase_ == Phase::lingering) {
        discarded_ += bytes;
        if (discarded_ > kMaxDiscarded) return abort();
        return read();
    }
    if (finishing_) return;  // Answered by the deadline meanwhile.
    if (phase_ == Phase::idle) {
        phase_ = Phase::header;
        set_deadline(context_->options.header_deadline);
    }
    end_ += bytes;
    process();
}

bool Connection::make_room() {
    if (begin_ == end_) {
        begin_ = end_ = 0;
        return true;
    }
    if (begin_ > 0) {
        in_.erase(0, begin_);
        in_.resize(in_.size() + begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    if (end_ < in_.size()) return true;
    // A parser that needs more than this for one element is fed rubbish (a chunk extension, say).
    if (in_.size() >= std::max(kLargestRead, 2 * context_->options.max_header)) return false;
    in_.resize(in_.size() * 2);
    return true;
}

void Connection::process() {
    while (true) {
        std::size_t consumed = 0;
        const auto step = parser_.feed(input(), consumed);
        begin_ += consumed;
        if (consumed > 0 && phase_ == Phase::idle) {
            phase_ = Phase::header;  // A pipelined request has begun.
            set_deadline(context_->options.header_deadline);
        }
        bool go_on = true;
        if (step == ParseStep::failed) return refuse_input();
        if (step == ParseStep::header) go_on = on_header();
        if (step == ParseStep::done) go_on = on_request();
        if (!go_on) return;
        if (step != ParseStep::need_more) continue;
        if (flush() != Flush::complete) return;
        if (!make_room()) return refuse_input();
        if (phase_ == Phase::body && in_.size() < kLargestRead && begin_ == end_)
            in_.resize(kLargestRead);
        return phase_ == Phase::idle ? read_later() : read();
    }
}

void Connection::refuse_input() {
    auto failure = parser_.failure();
    if (failure.message.empty()) failure.message = "malformed request";
    keep_alive_ = false;
    body_pending_ = true;
    if (request_.version != 10) request_.version = 11;
    respond(Response::error(failure.status, failure.code, failure.message));
}

bool Connection::on_header() {
    keep_alive_ = parser_.keep_alive() && !context_->closing;
    body_pending_ = parser_.has_body();
    match_ = context_->router.match(request_);
    if (!context_->guard) return on_verdict(Proceed{});
    try {
        return on_verdict(context_->guard(request_));
    } catch (...) {
        return refuse(answer_for(std::current_exception(), request_));
    }
}

bool Connection::on_verdict(Verdict verdict) {
    if (auto* answer = std::get_if<Response>(&verdict)) return refuse(std::move(*answer));
    if (auto* later = std::get_if<LaterVerdict>(&verdict)) {
        phase_ = Phase::judging;
        context_->tasks.spawn("guard", judge(shared_from_this(), std::move(*later)));
        return false;
    }
    return admit();
}

asio::awaitable<void> Connection::judge(std::shared_ptr<Connection> self, LaterVerdict later) {
    std::optional<Response> answer;
    std::exception_ptr failure;
    try {
        answer = co_await std::move(later);
    } catch (...) {
        failure = std::current_exception();
    }
    if (phase_ == Phase::gone) co_return;
    if (failure && is_cancellation(failure)) co_return abort();
    if (failure) answer = answer_for(failure, request_);
    const bool go_on = answer ? refuse(std::move(*answer)) : admit();
    if (go_on) process();
}

bool Connection::admit() {
    using Result = RouteMatch::Result;
    if (match_.result != Result::found && match_.result != Result::page)
        return refuse(refusal(match_, request_));
    if (match_.info != nullptr && match_.info->options.body == BodyReading::left)
        return on_request();
    const auto max_body = match_.info != nullptr ? match_.info->options.max_body : 0;
    const auto length = parser_.content_length().value_or(0);
    if (length > max_body) {
        const auto text = "the body is larger than " + std::to_string(max_body) + " bytes";
        return refuse(Response::error(413, Errc::too_large, text));
    }
    parser_.limit_body(max_body);
    if (const auto expect = request_.headers.find("Expect"); expect && request_.version == 11) {
        if (!equal_ignoring_case(*expect, "100-continue"))
            return refuse(Response::error(417, Errc::invalid, "unknown expectation"));
        if (body_pending_ && input().empty()) out_.append("HTTP/1.1 100 Continue\r\n\r\n");
    }
    phase_ = Phase::body;
    if (body_pending_) set_deadline(context_->options.body_deadline);
    return true;
}

bool Connection::on_request() {
    if (match_.info == nullptr || match_.info->options.body == BodyReading::whole)
        body_pending_ = false;
    phase_ = Phase::handling;
    if (match_.result == RouteMatch::Result::page) return respond(context_->router.page(request_));
    if (const auto* handler = std::get_if<SyncHandler>(match_.handler)) {
        try {
            return respond((*handler)(request_));
        } catch (...) {
            return respond(answer_for(std::current_exception(), request_));
        }
    }
    if (const auto* handler = std::get_if<AsyncHandler>(match_.handler)) {
        if (context_->tasks.closing()) {
            abort();
            return false;
        }
        context_->tasks.spawn(match_.info->pattern, run(shared_from_this(), handler));
        return false;
    }
    return upgrade(std::get<SocketHandler>(*match_.handler));
}

asio::awaitable<void> Connection::run(
    std::shared_ptr<Connection> self, const AsyncHandler* handler
) {
    Response response;
    std::exception_ptr failure;
    try {
        response = co_await (*handler)(request_);
    } catch (...) {
        failure = std::current_exception();
    }
    if (phase_ == Phase::gone) co_return;
    if (failure && is_cancellation(failure)) co_return abort();
    if (failure) response = answer_for(failure, request_);
    if (response.upstream) {
        co_await pass_on(std::move(response.upstream));
        co_return;
    }
    if (response.stream && request_.method != "HEAD") {
        co_await stream(std::move(response));
        co_return;
    }
    if (refuse(std::move(response))) process();
}

bool Connection::refuse(Response response) {
    // The rest of the body will not be read, so the next request could not be found.
    if (body_pending_) keep_alive_ = false;
    return respond(std::move(response));
}

bool Connection::respond(Response response) {
    if (phase_ == Phase::gone) return false;
    if (response.stream && request_.method != "HEAD") {
        phase_ = Phase::handling;
        auto send = [](std::shared_ptr<Connection> self, Response what) -> asio::awaitable<void> {
            co_await self->stream(std::move(what));
        };
        context_->tasks.spawn("stream", send(shared_from_this(), std::move(response)));
        return false;
    }
    const bool bodied = has_body_by_status(response.status);
    HeadFacts facts;
    facts.keep_alive = keep_alive_ && !context_->closing;
    facts.chunked = static_cast<bool>(response.stream);
    facts.with_length = bodied;
    facts.version = request_.version;
    append_head(out_, response, *context_, facts);
    finishing_ = !facts.keep_alive;
    const auto payload = response.payload();
    if (bodied && request_.method != "HEAD") {
        if (payload.size() <= kCopyBody) {
            out_.append(payload);
        } else {
            large_ = std::move(response);
        }
    }
    phase_ = Phase::idle;
    if (!finishing_ && large_.payload().empty() && out_.size() < kFlushAt && !input().empty()) {
        parser_.start(request_);
        return true;  // The next pipelined request first; process() flushes before it reads.
    }
    if (!finishing_) {
        parser_.start(request_);
        set_deadline(context_->options.idle_deadline);
    }
    if (flush() != Flush::complete) return false;
    if (!finishing_) return true;
    finish();
    return false;
}

Connection::Flush Connection::flush() {
    while (true) {
        const auto body = large_.payload();
        const std::size_t total = out_.size() + body.size();
        if (sent_ == total) break;
        std::array<iovec, 2> parts{};
        std::size_t count = 0;
        if (sent_ < out_.size()) parts[count++] = {out_.data() + sent_, out_.size() - sent_};
        const std::size_t body_sent = sent_ > out_.size() ? sent_ - out_.size() : 0;
        // sendmsg does not write to what it sends; its interface predates const.
        if (!body.empty())
            parts[count++] = {const_cast<char*>(body.data()) + body_sent, body.size() - body_sent};
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = count;
        const auto sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            sent_ += static_cast<std::size_t>(sent);
            continue;
        }
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            wait_writable();
            return Flush::waiting;
        }
        abort();
        return Flush::broken;
    }
    sent_ = 0;
    out_.clear();
    if (!large_.payload().empty()) large_ = Response();
    return Flush::complete;
}

void Connection::wait_writable() {
    phase_ = phase_ == Phase::body ? Phase::body : Phase::writing;
    set_deadline(context_->options.write_deadline);
    auto handler = [self = shared_from_this()](boost::system::error_code error) {
        if (self->phase_ == Phase::gone) return;
        if (error) return self->abort();
        if (self->flush() != Flush::complete) return;
        if (self->finishing_) return self->finish();
        if (self->phase_ == Phase::writing) {
            self->phase_ = Phase::idle;
            self->set_deadline(self->context_->options.idle_deadline);
        }
        self->process();
    };
    socket_.async_wait(Stream::wait_write, std::move(handler));
}

void Connection::finish() {
    if (phase_ == Phase::gone) return;
    // Bytes that nobody has read would turn the close into a reset, which may overtake the answer.
    if (!body_pending_ && input().empty()) return abort();
    boost::system::error_code error;
    socket_.shutdown(Stream::shutdown_send, error);
    if (error) return abort();
    phase_ = Phase::lingering;
    set_deadline(kLinger);
    begin_ = end_ = 0;
    if (!reading_) read();
}

bool Connection::upgrade(const SocketHandler& handler) {
    const auto kind = request_.headers.find("Upgrade").value_or("");
    if (!parser_.wants_websocket() || !has_token(kind, "websocket") || request_.method != "GET") {
        auto response =
            Response::error(426, Errc::invalid, "this route speaks WebSocket (RFC 6455) only");
        response.headers.add("Upgrade", "websocket");
        return respond(std::move(response));
    }
    if (!input().empty()) {
        keep_alive_ = false;
        return respond(
            Response::error(400, Errc::invalid, "bytes before the WebSocket handshake was answered")
        );
    }
    if (context_->closing || flush() != Flush::complete) {
        abort();
        return false;
    }
    phase_ = Phase::gone;
    auto socket = make_server_socket(std::move(socket_), context_->options.socket_idle_deadline);
    context_->tasks.spawn(
        match_.info->pattern,
        serve_socket(context_, std::move(socket), std::move(request_), &handler)
    );
    return false;
}

/// Sends chunks of one streaming answer.
class ChunkWriter final : public BodyWriter {
public:
    ChunkWriter(Connection& connection, bool chunked)
        : connection_(connection), chunked_(chunked) {}

    asio::awaitable<bool> write(std::string bytes) override {
        if (bytes.empty()) co_return !broken_;
        auto framed = std::move(connection_.out_);
        connection_.out_.clear();
        if (chunked_) {
            std::array<char, 20> size{};
            const int length = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
            framed.append(size.data(), static_cast<std::size_t>(length)).append(bytes);
            framed.append("\r\n");
        } else {
            framed.append(bytes);
        }
        co_return co_await send(std::move(framed));
    }

    asio::awaitable<bool> end() {
        auto rest = std::move(connection_.out_);
        connection_.out_.clear();
        if (chunked_) rest.append("0\r\n\r\n");
        if (rest.empty()) co_return !broken_;
        co_return co_await send(std::move(rest));
    }

    asio::awaitable<bool> send(std::string bytes) {
        std::size_t done = 0;
        while (!broken_ && done < bytes.size()) {
            connection_.phase_ = Connection::Phase::writing;
            connection_.set_deadline(connection_.context_->options.write_deadline);
            const auto rest = asio::buffer(bytes.data() + done, bytes.size() - done);
            const auto [error, sent] = co_await connection_.socket_.async_send(rest, as_result);
            if (error || connection_.phase_ == Connection::Phase::gone) broken_ = true;
            done += sent;
        }
        if (!broken_) connection_.phase_ = Connection::Phase::handling;
        co_return !broken_;
    }

private:
    Connection& connection_;
    bool chunked_;
    bool broken_ = false;
};

asio::awaitable<void> Connection::stream(Response response) {
    HeadFacts facts;
    facts.chunked = request_.version == 11;
    if (!facts.chunked) keep_alive_ = false;
    facts.keep_alive = keep_alive_ && !context_->closing;
    facts.with_length = false;
    facts.version = request_.version;
    append_head(out_, response, *context_, facts);
    ChunkWriter writer(*this, facts.chunked);
    auto head = std::exchange(out_, std::string());
    bool complete = co_await writer.send(std::move(head));
    std::exception_ptr failure;
    if (complete) {
        try {
            co_await response.stream(writer);
        } catch (...) {
            failure = std::current_exception();
        }
    }
    // The head is out: a failure can only be told by an answer that visibly lacks its end.
    if (failure && !is_cancellation(failure))
        log::error(
            "stream failed", {{"target", loggable_path(request_)}, {"error", describe(failure)}}
        );
    if (failure || phase_ == Phase::gone) co_return abort();
    complete = complete && co_await writer.end();
    if (!complete) co_return abort();
    if (!facts.keep_alive) co_return finish();
    phase_ = Phase::idle;
    parser_.start(request_);
    set_deadline(context_->options.idle_deadline);
    process();
}

}  // namespace volary::http
