// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "cage/gatekeeper/network_log.hpp"
#include "cage/gatekeeper/options.hpp"
#include "cage/net_plan.hpp"

#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace volary::cage {

class DataPlane;
class Resolver;
class UpstreamOpener;

/// The network side of all cages: answers their DNS, judges their connections, dials the real
/// peer and relays bytes, and tells what was refused.
///
/// Nothing in a cage reaches anything but through here: its network namespace has only `lo`, and
/// the sockets that listen there were handed to attach(). Lives on one thread, that of its
/// executor. `co_await close()` before destruction.
class Gatekeeper {
public:
    /// Asks the shim to bind one more listener in the cage's namespace (wildcard names, live
    /// rules), on the fake address of `name` if it has one.
    using BindLater = std::function<asio::awaitable<UniqueFd>(SocketSpec, std::string name)>;
    /// A listener that was bound later for an earlier daemon.
    struct Restored {
        SocketSpec spec;
        std::string name;
        UniqueFd socket;
    };

    Gatekeeper(asio::any_io_executor executor, GatekeeperConfig config, GatekeeperHooks hooks);
    ~Gatekeeper();
    Gatekeeper(const Gatekeeper&) = delete;
    Gatekeeper& operator=(const Gatekeeper&) = delete;

    /// Throws Error{invalid} naming the rule when it names a credential that the operator did not
    /// define, or would send one to a host that its definition does not list. attach() and allow()
    /// check it too; this is for asking before anything is started.
    void check(const std::vector<NetRule>& rules) const;

    /// Serves a cage from now on. `rules` and `plan` belong together; `sockets` has the order of
    /// `plan.sockets`. `packet` is an AF_PACKET socket (SOCK_RAW or SOCK_DGRAM, ETH_P_ALL,
    /// non-blocking) on the cage's `lo`, or empty: then attempts without a listener are refused
    /// all the same, but not told. `bind_later` may be empty when no rule is a wildcard
    /// and none is added.
    /// `restored` are listeners of a cage that lived before, in the order in which they were bound:
    /// their names have the fake addresses that programs in the cage remember.
    /// Throws Error{invalid} when the counts differ and what check() throws, Error{conflict} when
    /// the cage is attached.
    void attach(
        CageId cage, std::vector<NetRule> rules, NetPlan plan, std::vector<UniqueFd> sockets,
        UniqueFd packet, BindLater bind_later, std::vector<Restored> restored = {}
    );

    /// Allows one thing more to a running cage: its name gets a fake address and listeners, its
    /// address or block a listener; a wildcard needs none before it is asked for. What is allowed
    /// already stays so. Throws Error{not_found} when the cage is not attached, Error{invalid}
    /// for what plan_network() refuses, Error{unavailable} or what BindLater threw when
    /// a listener cannot be made; then it may be tried again.
    asio::awaitable<void> allow(CageId cage, NetRule rule);

    /// The cage's network log: the open connections, then the last 256 finished ones, the newest
    /// of each first. It can be read for a while after the cage ended; unknown cages have none.
    std::vector<Connection> connections(const CageId& cage) const;

    /// What the cage used so far; as connections().
    NetUse use(const CageId& cage) const;

    /// Closes the cage's listeners and connections; returns when all are gone. A cage that is not
    /// attached is fine.
    asio::awaitable<void> detach(CageId cage);

    /// Detaches every cage and refuses new ones.
    asio::awaitable<void> close();

private:
    class CageNet;
    const NetworkLog* log_of(const CageId& cage) const;

    asio::any_io_executor executor_;
    GatekeeperConfig config_;
    GatekeeperHooks hooks_;
    std::unique_ptr<Resolver> resolver_;
    std::unique_ptr<UpstreamOpener> opener_;
    std::unique_ptr<DataPlane> plane_;
    std::vector<char> scratch_;
    bool closing_ = false;
    /// The logs of the cages that ended last, the newest last.
    std::deque<std::pair<CageId, NetworkLog>> ended_;
    // Last: the cages use what is above.
    std::map<CageId, std::shared_ptr<CageNet>> cages_;
};

}  // namespace volary::cage
