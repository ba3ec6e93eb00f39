// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/task_scope.hpp"
#include "cage/gatekeeper/dns.hpp"
#include "cage/gatekeeper/net_io.hpp"

#include <functional>
#include <optional>
#include <string>

namespace volary::cage {

/// Who knows the names of one cage.
struct DnsAuthority {
    /// The answer, or nothing when it takes work first.
    std::function<std::optional<std::string>(const DnsQuery&)> now;
    /// The answer after that work.
    std::function<asio::awaitable<std::string>(DnsQuery)> later;
};

/// The name server of one cage, over UDP and TCP. Its tasks live in the given scope, which must
/// end before it.
class DnsServer {
public:
    DnsServer(TaskScope& scope, DnsAuthority authority);

    void serve_udp(UniqueFd socket);
    void serve_tcp(UniqueFd listener);

private:
    struct Sender;
    asio::awaitable<void> udp(DescriptorPtr socket);
    asio::awaitable<void> tcp(DescriptorPtr listener);
    asio::awaitable<void> conversation(DescriptorPtr connection);
    asio::awaitable<void> answer_later(DescriptorPtr socket, Sender sender, DnsQuery query);
    asio::awaitable<std::string> answer(std::string message);
    void packet(const DescriptorPtr& socket, const Sender& sender, std::span<const char> bytes);

    TaskScope& scope_;
    DnsAuthority authority_;
    std::size_t conversations_ = 0;
    std::size_t pending_ = 0;
};

}  // namespace volary::cage
