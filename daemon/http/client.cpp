// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/client.hpp"

#include "daemon/http/context.hpp"
#include "daemon/http/parser.hpp"
#include "daemon/http/websocket.hpp"

#include <cerrno>
#include <charconv>
#include <sys/socket.h>
#include <sys/un.h>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

namespace volary::http {
namespace {

using ErrorCode = boost::system::error_code;
using asio::ip::tcp;

/// A daemon's answer has a dozen fields; a provider's some dozens.
constexpr std::size_t kMaxAnswerHeader = std::size_t{64} << 10U;
/// One read; also the largest piece that a streaming caller hears.
constexpr std::size_t kReadBuffer = std::size_t{32} << 10U;
/// Pinged by the server at half its own limit; twice that means that it is gone.
constexpr std::chrono::seconds kSocketIdle{120};

/// Closes a socket when its time is over; the operation on it then ends with an error.
struct Watch : std::enable_shared_from_this<Watch> {
    explicit Watch(const asio::any_io_executor& executor) : socket(executor), timer(executor) {}

    void arm(std::chrono::milliseconds within) {
        timer.expires_after(within);
        auto handler = [self = shared_from_this()](ErrorCode error) {
            // A handler that was already on its way when the timer was set anew is stale.
            if (error || self->timer.expiry() > std::chrono::steady_clock::now()) return;
            self->timed_out = true;
            self->drop();
        };
        timer.async_wait(std::move(handler));
    }
    void disarm() { timer.cancel(); }
    void drop() {
        ErrorCode ignored;
        socket.close(ignored);
    }

    Stream socket;
    asio::steady_timer timer;
    bool timed_out = false;
};

Error failure(const Watch& watch, const std::string& doing, const ErrorCode& error) {
    if (watch.timed_out) return {Errc::timeout, doing + ": no answer in time"};
    return {Errc::unavailable, doing + ": " + error.message()};
}

asio::awaitable<std::vector<Stream::endpoint_type>> resolve(
    const asio::any_io_executor& executor, const Endpoint& endpoint
) {
    std::vector<Stream::endpoint_type> out;
    if (!endpoint.path.empty()) {
        sockaddr_un longest{};
        if (endpoint.path.size() >= sizeof longest.sun_path)
            throw Error(Errc::invalid, "connect " + endpoint.name() + ": the path is too long");
        out.emplace_back(asio::local::stream_protocol::endpoint(endpoint.path));
        co_return out;
    }
    ErrorCode error;
    const auto literal = asio::ip::make_address(endpoint.host, error);
    if (!error) {
        out.emplace_back(tcp::endpoint(literal, endpoint.port));
        co_return out;
    }
    tcp::resolver resolver(executor);
    const auto [failed, found] =
        co_await resolver.async_resolve(endpoint.host, std::to_string(endpoint.port), as_result);
    if (failed)
        throw Error(Errc::unavailable, "connect " + endpoint.name() + ": " + failed.message());
    for (const auto& entry : found) out.emplace_back(entry.endpoint());
    co_return out;
}

asio::awaitable<std::shared_ptr<Watch>> connect(
    asio::any_io_executor executor, Endpoint endpoint, std::chrono::milliseconds within
) {
    auto watch = std::make_shared<Watch>(executor);
    const auto targets = co_await resolve(executor, endpoint);
    ErrorCode last = asio::error::host_not_found;
    watch->arm(within);
    for (const auto& target : targets) {
        watch->drop();
        watch->socket = Stream(executor);
        const auto [error] = co_await watch->socket.async_connect(target, as_result);
        last = error;
        if (!error || watch->timed_out) break;
    }
    watch->disarm();
    if (last || watch->timed_out) throw failure(*watch, "connect " + endpoint.name(), last);
    co_return watch;
}

std::string compose(const ClientRequest& request, const Endpoint& endpoint, const Headers& common) {
    std::string out = request.method + " " + request.target + " HTTP/1.1\r\n";
    if (request.target.empty() || request.target.find_first_of(" \r\n\t") != std::string::npos)
        throw Error(Errc::invalid, "malformed request target \"" + request.target + "\"");
    if (!request.headers.find("Host"))
        out.append("Host: ").append(endpoint.host_header()).append("\r\n");
    for (const auto* headers : {&common, &request.headers}) {
        for (std::size_t i = 0; i < headers->size(); ++i) {
            const auto field = (*headers)[i];
            // A request's own field replaces the common one.
            if (headers == &common && request.headers.find(field.name)) continue;
            out.append(field.name).append(": ").append(field.value).append("\r\n");
        }
    }
    const bool may_have_body = request.method != "GET" && request.method != "HEAD";
    if (!request.body.empty() || may_have_body)
        out.append("Content-Length: ").append(std::to_string(request.body.size())).append("\r\n");
    return out.append("\r\n").append(request.body);
}

/// Nothing may be there to read on a connection that waits; what is there is its end.
bool is_stale(Stream& socket) {
    char byte = 0;
    const auto got = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

}  // namespace

Endpoint Endpoint::unix_socket(std::string path) { return {std::move(path), {}, 0}; }

Endpoint Endpoint::tcp(std::string host, std::uint16_t port) { return {{}, std::move(host), port}; }

Endpoint Endpoint::parse(std::string_view text) {
    constexpr std::string_view unix_scheme = "unix:";
    constexpr std::string_view http_scheme = "http://";
    const std::string malformed =
        "\"" + std::string(text) + "\" is neither unix:PATH nor http://HOST[:PORT]";
    if (text.starts_with(unix_scheme)) {
        auto path = text.substr(unix_scheme.size());
        if (path.empty()) throw Error(Errc::invalid, malformed);
        return unix_socket(std::string(path));
    }
    if (!text.starts_with(http_scheme)) throw Error(Errc::invalid, malformed);
    auto authority = text.substr(http_scheme.size());
    authority = authority.substr(0, authority.find('/'));
    std::string_view port_text;
    const bool bracketed = authority.starts_with('[');
    const auto host_end = bracketed ? authority.find(']') : authority.find(':');
    if (bracketed && host_end == std::string_view::npos) throw Error(Errc::invalid, malformed);
    auto host = bracketed ? authority.substr(1, host_end - 1) : authority.substr(0, host_end);
    const auto colon = authority.find(':', bracketed ? host_end : 0);
    if (colon != std::string_view::npos) port_text = authority.substr(colon + 1);
    std::uint16_t port = 80;
    if (colon != std::string_view::npos) {
        const auto* end = port_text.data() + port_text.size();
        const auto parsed = std::from_chars(port_text.data(), end, port);
        if (parsed.ec != std::errc() || parsed.ptr != end) throw Error(Errc::invalid, malformed);
    }
    if (host.empty()) throw Error(Errc::invalid, malformed);
    return tcp(std::string(host), port);
}

std::string Endpoint::name() const {
    if (!path.empty()) return "\"" + path + "\"";
    return host + ":" + std::to_string(port);
}

std::string Endpoint::host_header() const {
    if (!path.empty()) return "localhost";
    std::string out = host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (port != 80) out += ":" + std::to_string(port);
    return out;
}

struct Client::Impl {
    Impl(asio::any_io_executor on, Endpoint to, ClientOptions with)
        : executor(std::move(on)),
          endpoint(std::move(to)),
          options(std::move(with)),
          parser(kMaxAnswerHeader) {}

    enum class Outcome { answered, stale };

    static asio::awaitable<Response> request(
        std::shared_ptr<Impl> self, ClientRequest request, OnBody on_body
    );
    static asio::awaitable<std::shared_ptr<Socket>> websocket(
        std::shared_ptr<Impl> self, std::string target, Headers headers
    );
    static asio::awaitable<Tunnel> tunnel(
        std::shared_ptr<Impl> self, std::string target, std::string protocol
    );
    asio::awaitable<Outcome> exchange(
        const ClientRequest& request, const OnBody& on_body, Response& response
    );
    asio::awaitable<Outcome> read_answer(
        const ClientRequest& request, const OnBody& on_body, Response& response
    );
    void restart(const ClientRequest& request, const OnBody& on_body, Response& response);
    void drop() {
        if (connection) connection->disarm();
        if (connection) connection->drop();
        connection.reset();
    }

    asio::any_io_executor executor;
    Endpoint endpoint;
    ClientOptions options;
    std::shared_ptr<Watch> connection;
    ResponseParser parser;
    std::string in;
    bool too_large = false;
    bool ended_by_caller = false;
    bool busy = false;
};

/// Marks the client as busy for one request, however that ends.
class BusyMark {
public:
    explicit BusyMark(bool& flag) : flag_(flag) {
        if (flag_) throw Error(Errc::busy, "this client is in the middle of a request");
        flag_ = true;
    }
    ~BusyMark() { flag_ = false; }
    BusyMark(const BusyMark&) = delete;
    BusyMark& operator=(const BusyMark&) = delete;

private:
    bool& flag_;
};

asio::awaitable<Response> Client::Impl::request(
    std::shared_ptr<Impl> self, ClientRequest request, OnBody on_body
) {
    const BusyMark mark(self->busy);
    if (self->connection && is_stale(self->connection->socket)) self->drop();
    const bool reused = self->connection != nullptr;
    const bool repeatable = request.method == "GET" || request.method == "HEAD" ||
                            request.headers.find("Idempotency-Key").has_value();
    Response response;
    std::exception_ptr failed;
    try {
        auto outcome = co_await self->exchange(request, on_body, response);
        if (outcome == Outcome::stale && reused && repeatable) {
            self->drop();
            outcome = co_await self->exchange(request, on_body, response);
        }
        if (outcome == Outcome::stale)
            throw Error(
                Errc::unavailable,
                request.method + " " + request.target + ": the connection ended without an answer"
            );
    } catch (...) {
        failed = std::current_exception();
    }
    if (failed) {
        // What is left of the answer must not become the next one.
        self->drop();
        std::rethrow_exception(failed);
    }
    co_return response;
}

asio::awaitable<Client::Impl::Outcome> Client::Impl::exchange(
    const ClientRequest& request, const OnBody& on_body, Response& response
) {
    const auto message = compose(request, endpoint, options.headers);
    if (!connection) {
        connection = co_await connect(executor, endpoint, options.connect_deadline);
        in.clear();
    }
    // Kept here as well: close() may drop the member while we wait.
    auto watch = connection;
    watch->arm(options.answer_deadline);
    const auto [error, sent] =
        co_await asio::async_write(watch->socket, asio::buffer(message), as_result);
    if (watch->timed_out) throw failure(*watch, request.method + " " + request.target, error);
    // A server that refuses early closes its side for reading; its answer may be there already.
    if (error && error != asio::error::broken_pipe && error != asio::error::connection_reset)
        throw failure(*watch, request.method + " " + request.target, error);
    co_return co_await read_answer(request, on_body, response);
}

void Client::Impl::restart(
    const ClientRequest& request, const OnBody& on_body, Response& response
) {
    response = Response();
    auto on_piece = [this, &on_body, &response](std::string_view piece) {
        if (on_body && response.status / 100 == 2) {
            ended_by_caller = !on_body(piece);
            return !ended_by_caller;
        }
        too_large = response.body.size() + piece.size() > options.max_body;
        if (!too_large) response.body.append(piece);
        return !too_large;
    };
    parser.start(response, std::move(on_piece), request.method == "HEAD");
}

asio::awaitable<Client::Impl::Outcome> Client::Impl::read_answer(
    const ClientRequest& request, const OnBody& on_body, Response& response
) {
    auto watch = connection;
    const std::string doing = request.method + " " + request.target;
    std::string piece(kReadBuffer, '\0');
    bool heard = !in.empty();
    too_large = ended_by_caller = false;
    restart(request, on_body, response);
    while (true) {
        std::size_t consumed = 0;
        auto step = parser.feed(in, consumed);
        in.erase(0, consumed);
        if (step == ParseStep::need_more) {
            const auto [error, bytes] =
                co_await watch->socket.async_read_some(asio::buffer(piece), as_result);
            if (watch->timed_out) throw failure(*watch, doing, error);
            if (error && !heard) co_return Outcome::stale;
            if (error == asio::error::eof) {
                step = parser.feed_end();
            } else if (error) {
                throw failure(*watch, doing, error);
            }
            heard = true;
            in.append(piece, 0, bytes);
        }
        if (step == ParseStep::failed && too_large)
            throw Error(
                Errc::too_large,
                doing + ": the answer is larger than " + std::to_string(options.max_body) + " bytes"
            );
        if (step == ParseStep::failed && ended_by_caller) break;
        if (step == ParseStep::failed) throw Error(Errc::io, doing + ": " + parser.failure());
        if (step == ParseStep::header && response.status / 100 == 1) {
            restart(request, on_body, response);  // 100 Continue: the answer is still to come.
            continue;
        }
        if (parser.in_body()) watch->arm(options.body_deadline);
        if (step == ParseStep::done) break;
    }
    watch->disarm();
    if (ended_by_caller || !parser.keep_alive()) drop();
    co_return Outcome::answered;
}

asio::awaitable<std::shared_ptr<Socket>> Client::Impl::websocket(
    std::shared_ptr<Impl> self, std::string target, Headers headers
) {
    for (std::size_t i = 0; i < self->options.headers.size(); ++i) {
        const auto field = self->options.headers[i];
        if (!headers.find(field.name)) headers.add(field.name, field.value);
    }
    auto watch = co_await connect(self->executor, self->endpoint, self->options.connect_deadline);
    auto socket =
        make_client_socket(std::move(watch->socket), self->options.answer_deadline, kSocketIdle);
    co_await socket->handshake(self->endpoint.host_header(), std::move(target), headers);
    co_return socket;
}

asio::awaitable<Client::Tunnel> Client::Impl::tunnel(
    std::shared_ptr<Impl> self, std::string target, std::string protocol
) {
    ClientRequest request;
    request.target = std::move(target);
    request.headers.add("Connection", "Upgrade");
    request.headers.add("Upgrade", protocol);
    const auto doing = "GET " + request.target;
    const auto message = compose(request, self->endpoint, self->options.headers);
    auto watch = co_await connect(self->executor, self->endpoint, self->options.connect_deadline);
    watch->arm(self->options.answer_deadline);
    const auto [failed, sent] =
        co_await asio::async_write(watch->socket, asio::buffer(message), as_result);
    if (failed) throw failure(*watch, doing, failed);
    Tunnel out;
    ResponseParser parser(kMaxAnswerHeader);
    const auto limit = self->options.max_body;
    const auto collect = [&out, limit](std::string_view piece) {
        out.answer.body.append(piece);
        return out.answer.body.size() <= limit;
    };
    parser.start(out.answer, collect, false);
    std::string piece(kReadBuffer, '\0');
    while (true) {
        std::size_t consumed = 0;
        const auto step = parser.feed(out.first, consumed);
        out.first.erase(0, consumed);
        if (step == ParseStep::failed) throw Error(Errc::io, doing + ": " + parser.failure());
        if (step == ParseStep::done) break;
        if (step != ParseStep::need_more) continue;
        const auto [error, bytes] =
            co_await watch->socket.async_read_some(asio::buffer(piece), as_result);
        if (error) throw failure(*watch, doing, error);
        out.first.append(piece, 0, bytes);
    }
    watch->disarm();
    if (out.answer.status == 101) out.connection = UniqueFd(watch->socket.release());
    co_return out;
}

Client::Client(asio::any_io_executor executor, Endpoint endpoint, ClientOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(endpoint), std::move(options))) {}

Client::~Client() { close(); }

asio::awaitable<Response> Client::request(ClientRequest request) {
    return Impl::request(impl_, std::move(request), nullptr);
}

asio::awaitable<Response> Client::request(ClientRequest request, OnBody on_body) {
    return Impl::request(impl_, std::move(request), std::move(on_body));
}

asio::awaitable<std::shared_ptr<Socket>> Client::websocket(std::string target, Headers headers) {
    return Impl::websocket(impl_, std::move(target), std::move(headers));
}

asio::awaitable<Client::Tunnel> Client::tunnel(std::string target, std::string protocol) {
    return Impl::tunnel(impl_, std::move(target), std::move(protocol));
}

void Client::close() { impl_->drop(); }

}  // namespace volary::http
