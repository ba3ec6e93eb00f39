// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/websocket.hpp"

#include "base/json.hpp"
#include "base/log.hpp"

#include <deque>
#include <exception>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <nlohmann/json.hpp>

namespace volary::http {
namespace {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using ErrorCode = boost::system::error_code;

/// How long a peer may take to answer a close frame before the connection is dropped.
constexpr std::chrono::seconds kCloseDeadline{5};
/// RFC 6455, 5.5: a control frame carries 125 bytes, two of them the code.
constexpr std::size_t kMaxReason = 123;
/// RFC 6455, 7.4.1: the connection broke without a close frame.
constexpr std::uint16_t kBroken = 1006;
constexpr std::uint16_t kUnsupportedData = 1003;

class BeastSocket final : public StreamSocket, public std::enable_shared_from_this<BeastSocket> {
public:
    BeastSocket(Stream stream, websocket::stream_base::timeout timeouts)
        : ws_(std::move(stream)), give_up_(ws_.get_executor()) {
        ws_.set_option(timeouts);
        ws_.read_message_max(kMaxInboundMessage);
        ws_.auto_fragment(false);
        ws_.text(true);
    }

    asio::awaitable<bool> accept(const Request& request) override {
        beast::http::request<beast::http::empty_body> upgrade;
        upgrade.method(beast::http::verb::get);
        upgrade.target(beast::string_view(request.target.data(), request.target.size()));
        upgrade.version(static_cast<unsigned>(request.version));
        for (std::size_t i = 0; i < request.headers.size(); ++i) {
            const auto field = request.headers[i];
            upgrade.insert(
                beast::string_view(field.name.data(), field.name.size()),
                beast::string_view(field.value.data(), field.value.size())
            );
        }
        const auto [error] = co_await ws_.async_accept(upgrade, as_result);
        if (error) fail(error);
        open_ = !error;
        co_return open_;
    }

    asio::awaitable<void> handshake(std::string host, std::string target, const Headers& headers)
        override {
        auto decorate = [&headers](websocket::request_type& request) {
            for (std::size_t i = 0; i < headers.size(); ++i) {
                const auto field = headers[i];
                request.set(
                    beast::string_view(field.name.data(), field.name.size()),
                    beast::string_view(field.value.data(), field.value.size())
                );
            }
        };
        ws_.set_option(websocket::stream_base::decorator(decorate));
        // A server of ours sends up to a whole message of an agent; a client trusts its daemon.
        ws_.read_message_max(kMaxOutbox);
        websocket::response_type response;
        const auto [error] = co_await ws_.async_handshake(response, host, target, as_result);
        if (!error) {
            open_ = true;
            co_return;
        }
        abort();
        if (error != websocket::error::upgrade_declined)
            throw Error(Errc::unavailable, "websocket \"" + target + "\": " + error.message());
        throw declined(target, response);
    }

    asio::awaitable<std::optional<std::string>> receive() override {
        if (closed_with_ != 0) co_return std::nullopt;
        auto keep = shared_from_this();
        const auto [error, bytes] = co_await ws_.async_read(inbound_, as_result);
        if (error) {
            fail(error);
            co_return std::nullopt;
        }
        std::string message(static_cast<const char*>(inbound_.data().data()), bytes);
        inbound_.consume(bytes);
        if (!ws_.got_text()) {
            close(kUnsupportedData, "text only");
            co_return std::nullopt;
        }
        co_return message;
    }

    bool send(std::shared_ptr<const std::string> message) override {
        if (!open_ || closing_) return false;
        if (queued_ + message->size() > kMaxOutbox) {
            outbox_.clear();
            queued_ = 0;
            close(close_code::too_slow, "too slow");
            return false;
        }
        queued_ += message->size();
        outbox_.push_back(std::move(message));
        schedule();
        return true;
    }

    void close(std::uint16_t code, std::string_view reason) override {
        if (closing_ || closed_with_ != 0) return;
        closing_ = true;
        own_code_ = code;
        own_reason_ = reason.substr(0, kMaxReason);
        give_up_.expires_after(kCloseDeadline);
        auto on_deadline = [self = shared_from_this()](ErrorCode error) {
            if (!error) self->abort();
        };
        give_up_.async_wait(std::move(on_deadline));
        schedule();
    }

    void abort() override {
        ErrorCode ignored;
        beast::get_lowest_layer(ws_).close(ignored);
        ended(kBroken, "");
    }

    bool is_open() const noexcept override { return open_ && !closing_; }
    std::uint16_t closed_with() const noexcept override { return closed_with_; }
    std::string closed_reason() const override { return closed_reason_; }
    std::size_t queued() const noexcept override { return queued_; }

private:
    static Error declined(const std::string& target, const websocket::response_type& response) {
        const int status = static_cast<int>(response.result_int());
        auto message = "websocket \"" + target + "\": refused with " + std::to_string(status);
        const auto doc = parse_json(response.body());
        if (doc && doc->is_object() && doc->contains("error") && (*doc)["error"].is_object())
            message += ": " + string_or((*doc)["error"], "message");
        if (status == 401 || status == 403) return {Errc::denied, message};
        if (status == 404) return {Errc::not_found, message};
        return {Errc::unavailable, message};
    }

    /// What is sent in one turn of the loop leaves in one frame, so the write starts next turn.
    void schedule() {
        if (writing_) return;
        writing_ = true;
        asio::post(ws_.get_executor(), [self = shared_from_this()] { self->pump(); });
    }

    void pump() {
        if (closed_with_ != 0) return;
        if (outbox_.empty()) {
            writing_ = false;
            if (closing_) send_close();
            return;
        }
        asio::const_buffer buffer = next_frame();
        auto on_written = [self = shared_from_this()](ErrorCode error, std::size_t) {
            self->in_flight_.reset();
            if (error) return self->stop_writing();
            self->pump();
        };
        ws_.async_write(buffer, std::move(on_written));
    }

    asio::const_buffer next_frame() {
        in_flight_ = std::move(outbox_.front());
        outbox_.pop_front();
        queued_ -= in_flight_->size();
        if (outbox_.empty() || in_flight_->size() + outbox_.front()->size() >= kMaxCoalesced)
            return {in_flight_->data(), in_flight_->size()};
        frame_.assign(*in_flight_);
        while (!outbox_.empty() && frame_.size() + 1 + outbox_.front()->size() <= kMaxCoalesced) {
            queued_ -= outbox_.front()->size();
            frame_.append("\n").append(*outbox_.front());
            outbox_.pop_front();
        }
        return {frame_.data(), frame_.size()};
    }

    void send_close() {
        if (close_sent_) return;
        close_sent_ = true;
        websocket::close_reason reason;
        reason.code = own_code_;
        reason.reason = beast::string_view(own_reason_.data(), own_reason_.size());
        auto on_closed = [self = shared_from_this()](ErrorCode) {
            self->ended(self->own_code_, self->own_reason_);
            self->drop();
        };
        ws_.async_close(reason, std::move(on_closed));
    }

    /// The read side tells why: what the peer said before it closed may still be there.
    void stop_writing() {
        open_ = false;
        outbox_.clear();
        queued_ = 0;
        if (closing_) abort();
    }

    void fail(ErrorCode error) {
        const auto& told = ws_.reason();
        // Even when answering the peer's close frame failed, what it said counts.
        if (!closing_ && (error == websocket::error::closed || told.code != 0)) {
            ended(told.code, std::string(told.reason.data(), told.reason.size()));
            if (error != websocket::error::closed) drop();
            return;
        }
        // While closing, async_close() tells the end; a read that fails meanwhile says nothing new.
        if (close_sent_ && error == websocket::error::closed) return ended(own_code_, own_reason_);
        ended(closing_ ? own_code_ : kBroken, closing_ ? own_reason_ : error.message());
        drop();
    }

    void drop() {
        ErrorCode ignored;
        beast::get_lowest_layer(ws_).close(ignored);
    }

    void ended(std::uint16_t code, std::string reason) {
        open_ = false;
        outbox_.clear();
        queued_ = 0;
        if (closed_with_ != 0) return;
        closed_with_ = closing_ ? own_code_ : code;
        closed_reason_ = closing_ ? own_reason_ : std::move(reason);
        give_up_.cancel();
    }

    websocket::stream<Stream, false> ws_;
    asio::steady_timer give_up_;
    beast::flat_buffer inbound_;
    std::deque<std::shared_ptr<const std::string>> outbox_;
    std::size_t queued_ = 0;
    std::shared_ptr<const std::string> in_flight_;
    std::string frame_;
    bool open_ = false;
    bool writing_ = false;
    bool closing_ = false;
    bool close_sent_ = false;
    std::uint16_t own_code_ = 0;
    std::string own_reason_;
    std::uint16_t closed_with_ = 0;
    std::string closed_reason_;
};

/// Keeps a socket in the context's list while its handler runs.
class Registration {
public:
    Registration(ServerContext& context, StreamSocket* socket) : context_(context) {
        place_ = context_.sockets.insert(context_.sockets.end(), socket);
    }
    ~Registration() {
        context_.sockets.erase(place_);
        context_.gone();
    }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

private:
    ServerContext& context_;
    std::list<StreamSocket*>::iterator place_;
};

}  // namespace

std::shared_ptr<StreamSocket> make_server_socket(Stream stream, std::chrono::milliseconds idle) {
    websocket::stream_base::timeout timeouts{std::chrono::seconds(10), idle, true};
    return std::make_shared<BeastSocket>(std::move(stream), timeouts);
}

std::shared_ptr<StreamSocket> make_client_socket(
    Stream stream, std::chrono::milliseconds handshake, std::chrono::milliseconds idle
) {
    websocket::stream_base::timeout timeouts{handshake, idle, true};
    return std::make_shared<BeastSocket>(std::move(stream), timeouts);
}

asio::awaitable<void> serve_socket(
    std::shared_ptr<ServerContext> context, std::shared_ptr<StreamSocket> socket, Request request,
    const SocketHandler* handler
) {
    const Registration registration(*context, socket.get());
    const bool accepted = co_await socket->accept(request);
    if (!accepted) co_return;
    std::exception_ptr failure;
    try {
        co_await (*handler)(socket, request);
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure && is_cancellation(failure)) co_return socket->abort();
    if (failure) {
        log::error("socket failed", {{"target", request.path}, {"error", describe(failure)}});
        socket->close(close_code::internal_error, "internal error");
    } else {
        socket->close(close_code::normal, "");
    }
    // Reading on lets the peer's close frame in; it ends at the close deadline at the latest.
    while (true) {
        const auto message = co_await socket->receive();
        if (!message) co_return;
    }
}

}  // namespace volary::http
