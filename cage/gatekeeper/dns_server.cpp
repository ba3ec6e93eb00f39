// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/dns_server.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <sys/socket.h>
#include <utility>

namespace volary::cage {
namespace {

using namespace std::chrono_literals;

constexpr int kMaxPerTurn = 64;
// A resolver opens one; more than this at once is somebody who holds them.
constexpr std::size_t kMaxConversations = 16;
// Questions that wait for a new fake address; the rest is dropped, and clients ask again.
constexpr std::size_t kMaxPending = 64;
constexpr auto kQuiet = 10s;
constexpr auto kAcceptBackOff = 100ms;

/// Counts one more of something for the life of a coroutine.
class Counted {
public:
    explicit Counted(std::size_t& count) : count_(count) { ++count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --count_; }

private:
    std::size_t& count_;
};

DnsParsed parse(std::span<const char> bytes) {
    return parse_dns({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

}  // namespace

struct DnsServer::Sender {
    sockaddr_storage address{};
    socklen_t size = sizeof(sockaddr_storage);

    void reply(int socket, const std::string& answer) const {
        // A full socket buffer drops the answer, as any network may; the client asks again.
        (void)::sendto(
            socket, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
            reinterpret_cast<const sockaddr*>(&address), size
        );
    }
};

DnsServer::DnsServer(TaskScope& scope, DnsAuthority authority)
    : scope_(scope), authority_(std::move(authority)) {}

void DnsServer::serve_udp(UniqueFd socket) {
    scope_.spawn("dns udp", udp(make_descriptor(scope_.executor(), std::move(socket))));
}

void DnsServer::serve_tcp(UniqueFd listener) {
    scope_.spawn("dns tcp", tcp(make_descriptor(scope_.executor(), std::move(listener))));
}

asio::awaitable<void> DnsServer::udp(DescriptorPtr socket) {
    for (;;) {
        const auto [error] = co_await socket->async_wait(Descriptor::wait_read, as_result);
        if (error) co_return;
        // One byte more than is allowed, so that an oversized packet is seen as one.
        std::array<char, kMaxDnsMessage + 1> buffer;
        for (int turn = 0; turn < kMaxPerTurn; ++turn) {
            Sender sender;
            const auto got = ::recvfrom(
                socket->native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                reinterpret_cast<sockaddr*>(&sender.address), &sender.size
            );
            if (got < 0) break;
            packet(socket, sender, std::span(buffer.data(), static_cast<std::size_t>(got)));
        }
    }
}

void DnsServer::packet(
    const DescriptorPtr& socket, const Sender& sender, std::span<const char> bytes
) {
    auto parsed = parse(bytes);
    if (const auto* reply = std::get_if<DnsReply>(&parsed))
        return sender.reply(socket->native_handle(), reply->bytes);
    auto* query = std::get_if<DnsQuery>(&parsed);
    if (query == nullptr) return;
    if (const auto answer = authority_.now(*query))
        return sender.reply(socket->native_handle(), *answer);
    if (pending_ >= kMaxPending || scope_.closing()) return;
    scope_.spawn("dns answer", answer_later(socket, sender, std::move(*query)));
}

asio::awaitable<void> DnsServer::answer_later(DescriptorPtr socket, Sender sender, DnsQuery query) {
    const Counted counted(pending_);
    const auto answer = co_await authority_.later(std::move(query));
    sender.reply(socket->native_handle(), answer);
}

asio::awaitable<void> DnsServer::tcp(DescriptorPtr listener) {
    asio::steady_timer pause(scope_.executor());
    for (;;) {
        const auto [error] = co_await listener->async_wait(Descriptor::wait_read, as_result);
        if (error) co_return;
        UniqueFd accepted(
            ::accept4(listener->native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)
        );
        const bool exhausted = !accepted && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);
        if (exhausted) {
            // The listener stays readable: asking again at once would only spin.
            pause.expires_after(kAcceptBackOff);
            co_await pause.async_wait(as_result);
        }
        if (!accepted || conversations_ >= kMaxConversations || scope_.closing()) continue;
        auto connection = make_descriptor(scope_.executor(), std::move(accepted));
        scope_.spawn("dns conversation", conversation(std::move(connection)));
    }
}

asio::awaitable<void> DnsServer::conversation(DescriptorPtr connection) {
    const Counted counted(conversations_);
    DnsFrames frames;
    for (;;) {
        const bool ready = co_await wait_ready(connection, Descriptor::wait_read, kQuiet);
        if (!ready) co_return;
        std::array<char, kMaxDnsMessage> buffer;
        const auto got = ::recv(connection->native_handle(), buffer.data(), buffer.size(), 0);
        if (got <= 0) co_return;
        if (!frames.feed({buffer.data(), static_cast<std::size_t>(got)})) co_return;
        while (auto message = frames.next()) {
            const auto reply = co_await answer(std::move(*message));
            if (reply.empty()) co_return;
            const auto framed = DnsFrames::frame(reply);
            // Answers are small; whoever lets them pile up until the buffer is full is cut off.
            const auto sent =
                ::send(connection->native_handle(), framed.data(), framed.size(), MSG_NOSIGNAL);
            if (sent != static_cast<ssize_t>(framed.size())) co_return;
        }
        // What next() left may start with a length that is not allowed.
        if (!frames.feed({})) co_return;
    }
}

asio::awaitable<std::string> DnsServer::answer(std::string message) {
    auto parsed = parse(message);
    if (auto* reply = std::get_if<DnsReply>(&parsed)) co_return std::move(reply->bytes);
    auto* query = std::get_if<DnsQuery>(&parsed);
    if (query == nullptr) co_return std::string();
    auto ready = authority_.now(*query);
    if (ready) co_return std::move(*ready);
    auto made = co_await authority_.later(std::move(*query));
    co_return made;
}

}  // namespace volary::cage
