// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/gatekeeper/denial_log.hpp"
#include "cage/gatekeeper/dns_server.hpp"
#include "cage/gatekeeper/names.hpp"
#include "cage/gatekeeper/packet_watch.hpp"
#include "cage/gatekeeper/relay.hpp"
#include "cage/gatekeeper/token_bucket.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace volary::cage {

/// The network of one cage: its listeners, names, sessions and denials. Lives on the control
/// thread; `co_await close()` before destruction.
class Gatekeeper::CageNet {
public:
    struct Parts {
        CageId cage;
        std::vector<NetRule> rules;
        NetPlan plan;
        std::vector<UniqueFd> sockets;
        UniqueFd packet;
        BindLater bind_later;
        std::vector<Restored> restored;
    };

    CageNet(SessionServices services, const GatekeeperHooks& hooks, Parts parts);

    asio::awaitable<void> close();

    /// Gatekeeper::allow() of this cage.
    asio::awaitable<void> allow(NetRule rule);
    const NetworkLog& log() const noexcept { return log_; }

private:
    struct Naming;
    class NamingTurn;

    void listen(UniqueFd socket, const SocketSpec& spec, SocketTarget target);
    asio::awaitable<void> accept_loop(DescriptorPtr listener, SocketTarget target);
    void accepted(UniqueFd connection, const SocketTarget& target);
    void start_session(UniqueFd connection, const SocketTarget& target);
    std::optional<SessionTarget> target_of(int connection, const SocketTarget& target);
    void session_ended(NetworkLog::Id id, Connection connection);
    asio::awaitable<void> listen_now(SocketSpec spec, SocketTarget target);
    /// A listener of an earlier daemon, or a new one from the shim.
    asio::awaitable<UniqueFd> obtain(SocketSpec spec, std::string name);
    void restore(std::vector<Restored> restored);
    Expectation expectation_of(const SessionTarget& target, const std::vector<NetRule>& rules);
    void deny_limit(std::string what);
    std::optional<std::string> answer_now(const DnsQuery& query);
    asio::awaitable<std::string> answer_later(DnsQuery query);
    std::string answer_known(const DnsQuery& query) const;
    asio::awaitable<void> ensure_name(std::string name);
    asio::awaitable<void> watch(DescriptorPtr packet);
    void attempted(const Attempt& attempt);
    void deny(Denial denial);
    void tell(std::vector<Denial> due);
    void arm_flush();

    const GatekeeperHooks& hooks_;
    CageId cage_;
    BindLater bind_later_;
    std::vector<Restored> restored_;
    NameTable names_;
    std::map<std::string, std::shared_ptr<Naming>> naming_;
    DenialLog denials_;
    asio::steady_timer flush_;
    NetworkLog log_;
    TokenBucket connection_rate_;
    TokenBucket dns_rate_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    TaskScope scope_;
    SessionContext context_;
    DnsServer dns_;
};

}  // namespace volary::cage
