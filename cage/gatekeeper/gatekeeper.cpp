// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/gatekeeper.hpp"

#include "base/error.hpp"
#include "cage/gatekeeper/cage_net.hpp"

#include <algorithm>
#include <utility>

namespace volary::cage {
namespace {

// One read of a relay. Larger ones gain nothing: bulk is spliced.
constexpr std::size_t kScratch = 64U * 1024U;
// Logs of ended cages: what an operator may still look at when a run is over.
constexpr std::size_t kKeptLogs = 32;

}  // namespace

Gatekeeper::Gatekeeper(
    asio::any_io_executor executor, GatekeeperConfig config, GatekeeperHooks hooks
)
    : executor_(std::move(executor)),
      config_(std::move(config)),
      hooks_(std::move(hooks)),
      resolver_(std::make_unique<Resolver>(executor_, config_.hosts, config_.resolve_timeout)),
      scratch_(kScratch) {}

Gatekeeper::~Gatekeeper() = default;

void Gatekeeper::attach(
    CageId cage, std::vector<NetRule> rules, NetPlan plan, std::vector<UniqueFd> sockets,
    UniqueFd packet, BindLater bind_later
) {
    if (closing_) throw Error(Errc::busy, "the gatekeeper is closing: " + cage.str());
    if (cages_.contains(cage)) throw Error(Errc::conflict, "cage is attached: " + cage.str());
    if (sockets.size() != plan.sockets.size() || plan.targets.size() != plan.sockets.size()) {
        throw Error(
            Errc::invalid, "cage " + cage.str() + ": " + std::to_string(sockets.size()) +
                               " sockets for a plan of " + std::to_string(plan.sockets.size())
        );
    }
    CageNet::Parts parts{
        cage,
        std::move(rules),
        std::move(plan),
        std::move(sockets),
        std::move(packet),
        std::move(bind_later)
    };
    auto made = std::make_shared<CageNet>(
        executor_, config_, hooks_, *resolver_, scratch_, std::move(parts)
    );
    cages_.emplace(std::move(cage), std::move(made));
}

asio::awaitable<void> Gatekeeper::allow(CageId cage, NetRule rule) {
    const auto found = cages_.find(cage);
    if (found == cages_.end())
        throw Error(Errc::not_found, "no network is attached to cage " + cage.str());
    // Shared: the cage may be detached while its listeners are made.
    const auto net = found->second;
    co_await net->allow(std::move(rule));
}

const NetworkLog* Gatekeeper::log_of(const CageId& cage) const {
    const auto found = cages_.find(cage);
    if (found != cages_.end()) return &found->second->log();
    const auto ended = std::ranges::find(ended_, cage, &std::pair<CageId, NetworkLog>::first);
    return ended == ended_.end() ? nullptr : &ended->second;
}

std::vector<Connection> Gatekeeper::connections(const CageId& cage) const {
    const auto* log = log_of(cage);
    return log == nullptr ? std::vector<Connection>() : log->list();
}

NetUse Gatekeeper::use(const CageId& cage) const {
    const auto* log = log_of(cage);
    return log == nullptr ? NetUse() : log->use();
}

asio::awaitable<void> Gatekeeper::detach(CageId cage) {
    const auto found = cages_.find(cage);
    if (found == cages_.end()) co_return;
    // Out of the map first, so that two detaches of one cage never close it twice.
    const auto net = std::move(found->second);
    cages_.erase(found);
    co_await net->close();
    ended_.emplace_back(std::move(cage), net->log());
    if (ended_.size() > kKeptLogs) ended_.pop_front();
}

asio::awaitable<void> Gatekeeper::close() {
    closing_ = true;
    while (!cages_.empty()) {
        const auto cage = cages_.begin()->first;
        co_await detach(cage);
    }
}

}  // namespace volary::cage
