// SPDX-License-Identifier: Apache-2.0
// Internal to daemon/http.
#pragma once

#include "daemon/http/context.hpp"
#include "daemon/http/parser.hpp"

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>

namespace volary::http {

class Exchange;

/// One HTTP connection: reads requests, runs their handlers one after another, writes answers.
///
/// Driven by completion handlers, not by a coroutine: a request whose handler answers at once
/// costs one read, one write and no frame. It lives as long as an operation holds it, and stands
/// in the context's list meanwhile.
class Connection final : public std::enable_shared_from_this<Connection> {
public:
    using TimePoint = std::chrono::steady_clock::time_point;

    Connection(std::shared_ptr<ServerContext> context, Stream socket, Peer peer);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void start();

    /// Called about once a second: ends it when its deadline is over.
    void check_deadline(TimePoint now);

    /// The server ends: closes now when idle, else after the answer that is being made.
    void wind_down();

    /// Closes now, whatever it does.
    void abort();

private:
    friend class ChunkWriter;
    enum class Phase { idle, header, body, judging, handling, writing, lingering, gone };
    enum class Flush { complete, waiting, broken };

    // Reading.
    void read();
    void read_later();
    void on_read(std::size_t bytes);
    void process();
    bool make_room();
    void refuse_input();

    // One request. Each returns true when process() may go on with the next bytes.
    bool on_header();
    bool on_verdict(Verdict verdict);
    bool admit();
    bool on_request();
    bool upgrade(const SocketHandler& handler);
    asio::awaitable<void> judge(std::shared_ptr<Connection> self, LaterVerdict later);
    asio::awaitable<void> run(std::shared_ptr<Connection> self, const AsyncHandler* handler);
    asio::awaitable<void> stream(Response response);
    asio::awaitable<void> pass_on(std::shared_ptr<Upstream> upstream);

    // Answering.
    bool respond(Response response);
    bool refuse(Response response);
    Flush flush();
    void wait_writable();
    void finish();
    void set_deadline(std::chrono::milliseconds from_now);

    std::string_view input() const { return std::string_view(in_).substr(begin_, end_ - begin_); }

    std::shared_ptr<ServerContext> context_;
    Stream socket_;
    Request request_;
    RequestParser parser_;
    RouteMatch match_;
    Phase phase_ = Phase::idle;
    TimePoint deadline_;
    bool keep_alive_ = true;
    bool body_pending_ = false;  ///< the peer may still be sending what nobody will read
    bool reading_ = false;       ///< a read is under way
    bool finishing_ = false;     ///< close after what is in out_
    std::string in_;             ///< read buffer; [begin_, end_) is not consumed yet
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::string out_;  ///< composed answers
    Response large_;   ///< an answer whose body is sent from where it lies, after out_
    std::size_t sent_ = 0;
    std::size_t discarded_ = 0;
    Exchange* exchange_ = nullptr;  ///< while an upstream answers
    std::list<Connection*>::iterator place_;
};

}  // namespace volary::http
