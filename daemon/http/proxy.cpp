// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/proxy.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "daemon/http/connection.hpp"
#include "daemon/http/listen.hpp"
#include "daemon/http/proxy_headers.hpp"

#include <cerrno>
#include <cstdio>
#include <sys/socket.h>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

namespace volary::http {
namespace {

/// Read at once from either side; with one such piece each way an exchange holds about 256 KiB.
constexpr std::size_t kPiece = std::size_t{64} << 10U;
/// A cage's answer has cookies and policies that we drop; more than this is no head.
constexpr std::size_t kMaxAnswerHead = std::size_t{64} << 10U;
/// A server that says "early hints" for ever is broken.
constexpr int kMaxInterim = 8;
/// A development server compiles before it answers.
constexpr std::chrono::seconds kAnswerWait{120};
/// Events and sockets may be silent for long; their number is what is bounded.
constexpr std::chrono::hours kQuiet{1};

Stream adopt(const asio::any_io_executor& executor, UniqueFd fd) {
    Stream stream(executor);
    const asio::generic::stream_protocol protocol(family_of(fd.get()), 0);
    boost::system::error_code error;
    stream.assign(protocol, fd.get(), error);
    if (error) throw Error(Errc::io, "adopting a connection: " + error.message());
    (void)fd.release();
    return stream;
}

std::string chunk(std::string_view bytes) {
    char size[20];
    const int length = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    std::string out(size, static_cast<std::size_t>(length));
    return out.append(bytes).append("\r\n");
}

TaskScope::OnError ignore_errors() {
    return [](std::string_view, const std::exception_ptr&) {};
}

}  // namespace

void BytePair::touch() { deadline_ = std::chrono::steady_clock::now() + kQuiet; }

/// Tells that one direction has ended, however that came.
class BytePair::Ending {
public:
    explicit Ending(BytePair& pair) : pair_(pair) {}
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;
    ~Ending() {
        --pair_.running_;
        pair_.ended_.notify();
    }

private:
    BytePair& pair_;
};

asio::awaitable<void> BytePair::copy(Stream& from, Stream& to, std::string first) {
    const Ending ending(*this);
    boost::system::error_code ignored;
    std::string buffer = std::move(first);
    bool broken = false;
    while (true) {
        touch();
        if (!buffer.empty()) {
            const auto [error, sent] =
                co_await asio::async_write(to, asio::buffer(buffer), as_result);
            broken = static_cast<bool>(error);
        }
        if (broken) break;
        buffer.resize(kPiece);
        const auto [error, got] = co_await from.async_read_some(asio::buffer(buffer), as_result);
        broken = error && error != asio::error::eof;
        if (error) break;
        buffer.resize(got);
    }
    to.shutdown(Stream::shutdown_send, ignored);
    // Not close(): the other direction is in the middle of its own operation on both.
    if (broken) from.shutdown(Stream::shutdown_both, ignored);
    if (broken) to.shutdown(Stream::shutdown_both, ignored);
}

asio::awaitable<void> BytePair::run(std::string first) {
    TaskScope copies(co_await asio::this_coro::executor, ignore_errors());
    std::exception_ptr failed;
    try {
        copies.spawn("bytes to b", copy(a_, b_, std::move(first)));
        copies.spawn("bytes to a", copy(b_, a_, {}));
        while (running_ > 0) co_await ended_.wait();
    } catch (...) {
        failed = std::current_exception();
    }
    co_await copies.close();
    if (failed) std::rethrow_exception(failed);
}

asio::awaitable<void> relay(
    asio::any_io_executor executor, UniqueFd a, UniqueFd b, std::string first
) {
    auto to_a = adopt(executor, std::move(a));
    auto to_b = adopt(executor, std::move(b));
    BytePair pair(executor, to_a, to_b);
    co_await pair.run(std::move(first));
}

Exchange::Exchange(
    ServerContext& context, Stream& client, RequestParser& parser, Request& request,
    std::shared_ptr<Upstream> upstream
)
    : context_(context),
      client_(client),
      upstream_socket_(adopt(context.executor, std::move(upstream->connection))),
      parser_(parser),
      request_(request),
      upstream_(std::move(upstream)) {
    const auto kind = request_.headers.find("Upgrade").value_or("");
    websocket_ = request_.method == "GET" && parser_.wants_websocket() &&
                 has_token(kind, "websocket") && !parser_.has_body();
    request_framing_.length = parser_.content_length();
    request_framing_.chunked = parser_.has_body() && !request_framing_.length;
}

void Exchange::wait_at_most(TimePoint& deadline, std::chrono::milliseconds limit) {
    deadline = std::chrono::steady_clock::now() + limit;
}

void Exchange::check(TimePoint now) {
    if (bytes_) {
        if (bytes_->is_stale(now)) cut();
        return;
    }
    // An app answers a body when it has all of it; until then the sender's pace is what counts.
    const bool answer_due = head_sent_ || uploaded_ || websocket_;
    if (now < up_deadline_ && (now < down_deadline_ || !answer_due)) return;
    // The download sees its connection end and says why; a client that does not read is cut off.
    const bool waits_for_client = head_sent_ || now >= up_deadline_;
    expired_ = true;
    boost::system::error_code ignored;
    upstream_socket_.close(ignored);
    if (waits_for_client) cut();
}

void Exchange::cut() noexcept {
    boost::system::error_code ignored;
    upstream_socket_.close(ignored);
    client_.close(ignored);
}

asio::awaitable<bool> Exchange::send(Stream& to, std::string bytes, TimePoint& deadline) {
    wait_at_most(deadline, context_.options.write_deadline);
    const auto [error, sent] = co_await asio::async_write(to, asio::buffer(bytes), as_result);
    deadline = TimePoint::max();
    co_return !error;
}

asio::awaitable<Exchange::End> Exchange::run(std::string pending, std::string input) {
    pending_ = std::move(pending);
    if (upstream_->kind == Upstream::Kind::bytes) {
        to_upstream_ = std::move(input);
        co_return co_await switch_to_bytes(bytes_head(*upstream_), {});
    }
    auto head = upstream_head(request_, *upstream_, request_framing_, websocket_);
    const bool sent = co_await send(upstream_socket_, std::move(head), up_deadline_);
    if (!sent) co_return co_await fail(502, "the program in the cage closed the connection");
    co_return co_await carry(std::move(input));
}

asio::awaitable<Exchange::End> Exchange::carry(std::string input) {
    TaskScope tasks(context_.executor, log_task_errors());
    auto end = End::broken;
    std::exception_ptr failed;
    try {
        // A handshake has no body, and what follows its answer belongs to the bytes.
        if (websocket_)
            to_upstream_ = std::move(input);
        else
            tasks.spawn("upload", upload(std::move(input)));
        end = co_await download();
    } catch (...) {
        failed = std::current_exception();
    }
    boost::system::error_code ignored;
    upstream_socket_.close(ignored);
    co_await tasks.close();
    if (failed) std::rethrow_exception(failed);
    if (end == End::finished && !uploaded_ && !websocket_) end = End::unread;
    co_return end;
}

asio::awaitable<void> Exchange::upload(std::string input) {
    // Taken out after each piece, so this bounds what is held and not what is sent.
    parser_.limit_body(2 * kPiece);
    const auto expected = request_.headers.find("Expect");
    if (expected && parser_.has_body() && input.empty() && request_.version == 11) {
        auto words = std::exchange(pending_, {}) + "HTTP/1.1 100 Continue\r\n\r\n";
        const bool told = co_await send(client_, std::move(words), up_deadline_);
        if (!told) co_return cut();
    }
    std::size_t begin = 0;
    while (true) {
        std::size_t consumed = 0;
        const auto step = parser_.feed(std::string_view(input).substr(begin), consumed);
        begin += consumed;
        if (step == ParseStep::failed) {
            refusal_ = parser_.failure().message;
            boost::system::error_code ignored;
            upstream_socket_.close(ignored);
            co_return;
        }
        const bool passed = co_await upload_piece(step == ParseStep::done);
        // It may have answered without reading everything: the download goes on.
        if (!passed) co_return;
        if (step == ParseStep::done) break;
        if (step != ParseStep::need_more) continue;
        input.erase(0, begin);
        begin = 0;
        const auto held = input.size();
        if (held >= kPiece) co_return cut();  // One element of chunk framing is never that long.
        input.resize(held + kPiece);
        wait_at_most(up_deadline_, context_.options.body_deadline);
        const auto room = asio::buffer(input.data() + held, kPiece);
        const auto [error, got] = co_await client_.async_read_some(room, as_result);
        up_deadline_ = TimePoint::max();
        if (error) co_return cut();
        input.resize(held + got);
    }
    uploaded_ = true;
    if (!head_sent_) wait_at_most(down_deadline_, kAnswerWait);
    co_await watch_client();
}

asio::awaitable<bool> Exchange::upload_piece(bool last) {
    auto body = std::exchange(request_.body, {});
    auto framed = request_framing_.chunked && !body.empty() ? chunk(body) : std::move(body);
    if (last && request_framing_.chunked) framed.append("0\r\n\r\n");
    if (framed.empty()) co_return true;
    co_return co_await send(upstream_socket_, std::move(framed), up_deadline_);
}

/// A stream of events may be silent for an hour: its reader's end is seen here.
asio::awaitable<void> Exchange::watch_client() {
    while (true) {
        const auto [error] = co_await client_.async_wait(Stream::wait_read, as_result);
        if (error) co_return;
        char byte = 0;
        const auto got = ::recv(client_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) continue;
        // What a client sends behind its request is not read: this connection ends.
        if (got <= 0) cut();
        co_return;
    }
}

BodyFraming Exchange::answer_framing(const Response& answer) const {
    BodyFraming framing;
    const auto length = answer.headers.find("Content-Length");
    const bool plain = length && !length->empty() && length->size() < 19 &&
                       length->find_first_not_of("0123456789") == std::string_view::npos;
    if (plain && !answer.headers.find("Transfer-Encoding"))
        framing.length = std::stoull(std::string(*length));
    const bool bodied = request_.method != "HEAD" && answer.status != 204 && answer.status != 304;
    if (!bodied && answer.status == 204) framing.length.reset();
    framing.chunked = bodied && !framing.length && request_.version == 11;
    return framing;
}

asio::awaitable<bool> Exchange::pass_body(std::string& body, bool chunked) {
    if (body.empty()) co_return true;
    auto framed = chunked ? chunk(body) : std::move(body);
    body.clear();
    co_return co_await send(client_, std::move(framed), down_deadline_);
}

asio::awaitable<bool> Exchange::send_head(const Response& answer, BodyFraming framing) {
    auto head = std::exchange(pending_, {});
    head.append(client_head(answer, *upstream_, framing, context_.date_line()));
    head_sent_ = true;
    co_return co_await send(client_, std::move(head), down_deadline_);
}

asio::awaitable<Exchange::End> Exchange::download() {
    ResponseParser parser(kMaxAnswerHead);
    Response answer;
    std::string body;
    const auto keep = [&body](std::string_view piece) {
        body.append(piece);
        return true;
    };
    const bool is_head = request_.method == "HEAD";
    parser.start(answer, keep, is_head);
    std::string input;
    BodyFraming framing;
    int interim = 0;
    while (true) {
        std::size_t consumed = 0;
        auto step = parser.feed(input, consumed);
        input.erase(0, consumed);
        if (step == ParseStep::need_more) {
            const bool sent = co_await pass_body(body, framing.chunked);
            if (!sent) co_return End::broken;
            const auto held = input.size();
            if (held > kMaxAnswerHead) co_return co_await fail(502, "its answer is malformed");
            input.resize(held + kPiece);
            if (head_sent_) wait_at_most(down_deadline_, kQuiet);
            if (!head_sent_) wait_at_most(down_deadline_, kAnswerWait);
            const auto room = asio::buffer(input.data() + held, kPiece);
            const auto [error, got] = co_await upstream_socket_.async_read_some(room, as_result);
            down_deadline_ = TimePoint::max();
            input.resize(held + got);
            if (error && error != asio::error::eof)
                co_return co_await fail(502, "the program in the cage broke the connection");
            if (error) step = parser.feed_end();
        }
        if (step == ParseStep::failed) co_return co_await fail(502, parser.failure());
        if (step == ParseStep::header && answer.status == 101) {
            if (!websocket_) co_return co_await fail(502, "it switches protocols unasked");
            co_return co_await switch_to_bytes(websocket_head(answer), std::move(input));
        }
        if (step == ParseStep::header && answer.status / 100 == 1) {
            if (++interim > kMaxInterim) co_return co_await fail(502, "it never answers");
            answer = Response();
            parser.start(answer, keep, is_head);
            continue;
        }
        if (step == ParseStep::header) {
            if (answer.status < 200 || answer.status > 599)
                co_return co_await fail(502, "its answer has no known status");
            framing = answer_framing(answer);
            const bool sent = co_await send_head(answer, framing);
            if (!sent) co_return End::broken;
        }
        if (step != ParseStep::done) continue;
        if (framing.chunked && !body.empty()) body = chunk(body);
        if (framing.chunked) body.append("0\r\n\r\n");
        const bool sent = co_await pass_body(body, false);
        co_return sent ? End::finished : End::broken;
    }
}

asio::awaitable<Exchange::End> Exchange::fail(int status, std::string message) {
    // A head that is out can only be followed by an end that is visibly too early.
    if (head_sent_ || !client_.is_open()) co_return End::broken;
    auto code = Errc::unavailable;
    if (expired_) {
        status = 504;
        code = Errc::timeout;
        message = "the program in the cage does not answer";
    } else if (!refusal_.empty()) {
        status = 400;
        code = Errc::invalid;
        message = refusal_;
    } else if (!message.starts_with("the program")) {
        message = "the program in the cage: " + message;
    }
    const auto answer = Response::error(status, code, message);
    HeadFacts facts;
    facts.keep_alive = false;
    auto out = std::exchange(pending_, {});
    append_head(out, answer, context_, facts);
    if (request_.method != "HEAD") out.append(answer.payload());
    head_sent_ = true;
    const bool sent = co_await send(client_, std::move(out), down_deadline_);
    co_return sent ? End::unread : End::broken;
}

asio::awaitable<Exchange::End> Exchange::switch_to_bytes(std::string head, std::string to_client) {
    head_sent_ = true;
    auto first = std::exchange(pending_, {}) + std::move(head) + std::move(to_client);
    const bool sent = co_await send(client_, std::move(first), down_deadline_);
    if (!sent) co_return End::broken;
    bytes_ = std::make_unique<BytePair>(context_.executor, client_, upstream_socket_);
    co_await bytes_->run(std::move(to_upstream_));
    co_return End::broken;
}

asio::awaitable<void> Connection::pass_on(std::shared_ptr<Upstream> upstream) {
    Exchange exchange(*context_, socket_, parser_, request_, std::move(upstream));
    std::string rest(input());
    begin_ = end_ = 0;
    auto pending = std::exchange(out_, std::string());
    exchange_ = &exchange;
    auto end = Exchange::End::broken;
    std::exception_ptr failure;
    try {
        end = co_await exchange.run(std::move(pending), std::move(rest));
    } catch (...) {
        failure = std::current_exception();
    }
    exchange_ = nullptr;
    if (failure && !is_cancellation(failure))
        log::error(
            "proxy failed", {{"target", loggable_path(request_)}, {"error", describe(failure)}}
        );
    if (failure || phase_ == Phase::gone || end == Exchange::End::broken) co_return abort();
    body_pending_ = end == Exchange::End::unread;
    finish();
}

}  // namespace volary::http
