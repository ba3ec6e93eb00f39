// SPDX-License-Identifier: Apache-2.0
// Internal to daemon/http: one request that an upstream answers.
#pragma once

#include "base/mailbox.hpp"
#include "daemon/http/context.hpp"
#include "daemon/http/parser.hpp"
#include "daemon/http/proxy_headers.hpp"
#include "daemon/http/upstream.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace volary::http {

/// Two streams between which bytes move, each end closed as its peer closes.
class BytePair {
public:
    using TimePoint = std::chrono::steady_clock::time_point;

    BytePair(const asio::any_io_executor& executor, Stream& a, Stream& b)
        : a_(a), b_(b), ended_(executor) {}

    /// Both directions until both have ended or one broke; `first` goes to `b`.
    asio::awaitable<void> run(std::string first);
    /// Ends it when nothing has moved for too long.
    bool is_stale(TimePoint now) const { return now >= deadline_; }

private:
    class Ending;
    asio::awaitable<void> copy(Stream& from, Stream& to, std::string first);
    void touch();

    Stream& a_;
    Stream& b_;
    TimePoint deadline_ = TimePoint::max();
    int running_ = 2;
    Notifier ended_;
};

/// Carries one request to an upstream and its answer back. Borrows the connection's socket, parser
/// and request, all of which outlive run(); check() and cut() may come at any time meanwhile.
class Exchange {
public:
    using TimePoint = std::chrono::steady_clock::time_point;
    enum class End {
        finished,  ///< the answer is complete; the connection closes in peace
        unread,    ///< the same, but the client may still be sending
        broken     ///< nothing more can be said on the connection
    };

    Exchange(
        ServerContext& context, Stream& client, RequestParser& parser, Request& request,
        std::shared_ptr<Upstream> upstream
    );

    /// `pending` is what is to be sent before the answer, `input` what was read behind the head.
    asio::awaitable<End> run(std::string pending, std::string input);

    /// Ends it when one side has been silent for too long.
    void check(TimePoint now);
    /// Ends it now.
    void cut() noexcept;

private:
    asio::awaitable<End> carry(std::string input);
    asio::awaitable<void> upload(std::string input);
    asio::awaitable<bool> upload_piece(bool last);
    asio::awaitable<void> watch_client();
    asio::awaitable<End> download();
    asio::awaitable<bool> send_head(const Response& answer, BodyFraming framing);
    asio::awaitable<bool> pass_body(std::string& body, bool chunked);
    asio::awaitable<End> fail(int status, std::string message);
    asio::awaitable<End> switch_to_bytes(std::string head, std::string to_client);
    asio::awaitable<bool> send(Stream& to, std::string bytes, TimePoint& deadline);
    BodyFraming answer_framing(const Response& answer) const;
    static void wait_at_most(TimePoint& deadline, std::chrono::milliseconds limit);

    ServerContext& context_;
    Stream& client_;
    Stream upstream_socket_;
    RequestParser& parser_;
    Request& request_;
    std::shared_ptr<Upstream> upstream_;
    bool websocket_ = false;
    BodyFraming request_framing_;
    std::string pending_;
    std::string to_upstream_;  ///< read from the client behind its head, for Kind::bytes
    TimePoint up_deadline_ = TimePoint::max();
    TimePoint down_deadline_ = TimePoint::max();
    std::unique_ptr<BytePair> bytes_;
    bool head_sent_ = false;
    bool uploaded_ = false;
    bool expired_ = false;
    std::string refusal_;  ///< why the request's body is malformed
};

}  // namespace volary::http
