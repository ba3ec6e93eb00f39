// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/upstream.hpp"

#include "cage/gatekeeper/dial.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/gatekeeper/resolver.hpp"
#include "cage/gatekeeper/tls.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace volary::cage {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMaxReply = 16U * 1024U;
// RFC 8305, 5: the recommended delay between two attempts.
constexpr milliseconds kStagger{250};

/// Waits as `state` says; false when the deadline passed, and for every other state.
asio::awaitable<bool> wait_for(
    DescriptorPtr socket, Stream::State state, steady_clock::time_point deadline
) {
    const bool waits = state == Stream::State::wait_read || state == Stream::State::wait_write;
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    if (!waits || left <= milliseconds::zero()) co_return false;
    const auto type =
        state == Stream::State::wait_read ? Descriptor::wait_read : Descriptor::wait_write;
    const bool ready = co_await wait_ready(socket, type, left);
    co_return ready;
}

std::string bracketed(const std::string& name) {
    return name.find(':') == std::string::npos ? name : "[" + name + "]";
}

}  // namespace

bool goes_by_proxy(const UpstreamProxy& proxy, const std::string& name) {
    const auto excepted = [&](const std::string& entry) {
        return entry == name || (entry.starts_with('.') && name.ends_with(entry));
    };
    return std::ranges::none_of(proxy.except, excepted);
}

ConnectReply parse_connect_reply(std::string_view bytes) {
    ConnectReply reply;
    constexpr std::string_view kStart = "HTTP/1.";
    const auto known = std::min(bytes.size(), kStart.size());
    const auto end = bytes.substr(0, kMaxReply).find("\r\n\r\n");
    if (bytes.substr(0, known) != kStart.substr(0, known)) {
        reply.state = ConnectReply::State::refused;
        reply.problem = "the proxy's answer is not HTTP";
    } else if (end == std::string_view::npos) {
        if (bytes.size() < kMaxReply) return reply;
        reply.state = ConnectReply::State::refused;
        reply.problem = "the proxy's answer is too large";
    } else if (end < kStart.size() + 5) {
        reply.state = ConnectReply::State::refused;
        reply.problem = "the proxy's answer has no status";
    } else {
        // "HTTP/1.1 200": the code is all that is believed and shown.
        const auto code = bytes.substr(kStart.size() + 1, 4);
        const auto digit = [](char c) { return c >= '0' && c <= '9'; };
        const auto after = bytes.substr(kStart.size() + 5, 1);
        const bool number = code.size() == 4 && code[0] == ' ' && (after == " " || after == "\r") &&
                            std::ranges::all_of(code.substr(1), digit);
        const bool open = number && code[1] == '2';
        reply.state = open ? ConnectReply::State::open : ConnectReply::State::refused;
        reply.size = end + 4;
        if (!open)
            reply.problem = number ? "the proxy answered " + std::string(code.substr(1))
                                   : "the proxy's answer has no status";
    }
    return reply;
}

UpstreamOpener::UpstreamOpener(
    asio::any_io_executor executor, const GatekeeperConfig& config, Resolver& resolver
)
    : executor_(std::move(executor)), config_(config), resolver_(resolver) {
    const bool by_tls = config.proxy && config.proxy->tls;
    // Only where it is used: reading the system's roots costs time and memory.
    if (by_tls || !config.credentials.empty() || !config.ca_file.empty())
        tls_ = std::make_unique<TlsContext>(config.ca_file);
}

UpstreamOpener::~UpstreamOpener() = default;

/// One connection while it is being opened.
class UpstreamOpener::Opening {
public:
    Opening(const UpstreamOpener& opener, UpstreamTarget target)
        : opener_(opener), target_(std::move(target)) {}

    asio::awaitable<void> run();
    Upstream upstream;

private:
    asio::awaitable<void> dial();
    asio::awaitable<bool> pass_proxy();
    asio::awaitable<bool> start_tls(std::string name);
    asio::awaitable<bool> ask_proxy();
    asio::awaitable<bool> hear_proxy();
    std::string connect_request() const;

    const UpstreamOpener& opener_;
    UpstreamTarget target_;
    steady_clock::time_point deadline_;
};

asio::awaitable<Upstream> UpstreamOpener::open(UpstreamTarget target) {
    Opening opening(*this, std::move(target));
    co_await opening.run();
    co_return std::move(opening.upstream);
}

asio::awaitable<void> UpstreamOpener::Opening::run() {
    upstream.verdict = target_.by_proxy ? "proxy" : "connect";
    if (target_.by_proxy) upstream.problem = "the proxy cannot be reached";
    co_await dial();
    if (!upstream.socket) co_return;
    deadline_ = steady_clock::now() + opener_.config_.connect_timeout;
    upstream.stream = make_socket_stream(upstream.socket->native_handle());
    bool fine = true;
    if (target_.by_proxy) fine = co_await pass_proxy();
    if (fine && target_.tls) {
        upstream.verdict = "tls";
        upstream.problem = "the peer spoke before it was asked";
        // Bytes before our hello are not TLS, and must not reach the cage as if they were.
        fine = upstream.early.empty();
        if (fine) fine = co_await start_tls(target_.name);
    }
    if (!fine) upstream.stream.reset();
}

asio::awaitable<void> UpstreamOpener::Opening::dial() {
    auto addresses = target_.addresses;
    auto port = target_.port;
    if (target_.by_proxy) {
        const auto& proxy = *opener_.config_.proxy;
        const auto numeric = parse_address(proxy.host);
        Resolved found;
        if (numeric) found.addresses = {*numeric};
        if (!numeric) found = co_await opener_.resolver_.resolve(proxy.host, "");
        addresses = std::move(found.addresses);
        port = found.port.value_or(proxy.port);
    }
    // TLS and proxies hear us first, too.
    const bool ours = target_.speaks || target_.tls || target_.by_proxy;
    upstream.socket = co_await dial_first(
        opener_.executor_, std::move(addresses), port, ours ? FirstWord::ours : FirstWord::theirs,
        kStagger, opener_.config_.connect_timeout
    );
}

std::string UpstreamOpener::Opening::connect_request() const {
    const auto where = bracketed(target_.name) + ":" + std::to_string(target_.port);
    std::string request = "CONNECT " + where + " HTTP/1.1\r\nHost: " + where + "\r\n";
    const auto& authorization = opener_.config_.proxy_authorization;
    if (!authorization.empty())
        request += "Proxy-Authorization: " + authorization.reveal() + "\r\n";
    return request + "\r\n";
}

asio::awaitable<bool> UpstreamOpener::Opening::pass_proxy() {
    upstream.problem = "the proxy did not answer";
    if (opener_.config_.proxy->tls) {
        const bool secured = co_await start_tls(opener_.config_.proxy->host);
        if (!secured) co_return false;
    }
    const bool asked = co_await ask_proxy();
    if (!asked) co_return false;
    const bool open = co_await hear_proxy();
    co_return open;
}

asio::awaitable<bool> UpstreamOpener::Opening::start_tls(std::string name) {
    auto tls = std::make_unique<TlsStream>(*opener_.tls_, std::move(upstream.stream), name);
    auto step = tls->handshake();
    bool ready = true;
    while (ready && step.state != Stream::State::some) {
        ready = co_await wait_for(upstream.socket, step.state, deadline_);
        if (ready) step = tls->handshake();
    }
    if (!ready) upstream.problem = tls->problem().empty() ? "no TLS in time" : tls->problem();
    upstream.stream = std::move(tls);
    co_return ready;
}

asio::awaitable<bool> UpstreamOpener::Opening::ask_proxy() {
    const auto request = connect_request();
    std::string_view rest = request;
    while (!rest.empty()) {
        const auto step = upstream.stream->write(rest);
        if (step.state == Stream::State::some) {
            rest.remove_prefix(step.bytes);
            continue;
        }
        const bool ready = co_await wait_for(upstream.socket, step.state, deadline_);
        if (!ready) co_return false;
    }
    co_return true;
}

asio::awaitable<bool> UpstreamOpener::Opening::hear_proxy() {
    std::string heard;
    std::array<char, 4096> buffer;
    for (;;) {
        const auto step = upstream.stream->read(buffer);
        if (step.state == Stream::State::some) {
            heard.append(buffer.data(), step.bytes);
            auto reply = parse_connect_reply(heard);
            if (reply.state == ConnectReply::State::more) continue;
            upstream.problem = std::move(reply.problem);
            upstream.early = heard.substr(std::min(reply.size, heard.size()));
            co_return reply.state == ConnectReply::State::open;
        }
        const bool ready = co_await wait_for(upstream.socket, step.state, deadline_);
        if (!ready) co_return false;
    }
}

}  // namespace volary::cage
