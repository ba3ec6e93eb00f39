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

/// What would break a request apart, or could not be told from the cage's own fields.
void check_credential(const std::string& name, const Credential& credential) {
    const auto& value = credential.value.reveal();
    const auto control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7F; };
    const auto fail = [&](const char* why) {
        throw Error(Errc::invalid, "credential \"" + name + "\": " + why);
    };
    if (!is_field_name(credential.header)) fail("its header is no header name");
    if (frames_message(credential.header)) fail("its header is one that HTTP itself needs");
    if (value.empty() || std::ranges::any_of(value, control))
        fail("its value is empty or holds a control character");
}

}  // namespace

Gatekeeper::Gatekeeper(
    asio::any_io_executor executor, GatekeeperConfig config, GatekeeperHooks hooks
)
    : executor_(std::move(executor)),
      config_(std::move(config)),
      hooks_(std::move(hooks)),
      resolver_(std::make_unique<Resolver>(executor_, config_.hosts, config_.resolve_timeout)),
      opener_(std::make_unique<UpstreamOpener>(executor_, config_, *resolver_)),
      plane_(std::make_unique<DataPlane>(executor_)),
      scratch_(kScratch) {
    for (const auto& [name, credential] : config_.credentials) check_credential(name, credential);
}

Gatekeeper::~Gatekeeper() = default;

void Gatekeeper::check(const std::vector<NetRule>& rules) const {
    for (const auto& rule : rules) {
        if (rule.credential.empty()) continue;
        const auto where = rule.origin.empty() ? std::string() : rule.origin + ": ";
        const auto subject = where + "net rule \"" + rule.text + "\": ";
        const auto found = config_.credentials.find(rule.credential);
        if (found == config_.credentials.end()) {
            throw Error(
                Errc::invalid,
                subject + "no credential \"" + rule.credential + "\" in the operator's config"
            );
        }
        const auto covers = [&](const NetRule& host) { return covers_target(host, rule); };
        if (std::ranges::none_of(found->second.hosts, covers)) {
            throw Error(
                Errc::invalid, subject + "the credential \"" + rule.credential +
                                   "\" may not go there: see its hosts in the operator's config"
            );
        }
    }
}

void Gatekeeper::attach(
    CageId cage, std::vector<NetRule> rules, NetPlan plan, std::vector<UniqueFd> sockets,
    UniqueFd packet, BindLater bind_later, std::vector<Restored> restored
) {
    if (closing_) throw Error(Errc::busy, "the gatekeeper is closing: " + cage.str());
    if (cages_.contains(cage)) throw Error(Errc::conflict, "cage is attached: " + cage.str());
    if (sockets.size() != plan.sockets.size() || plan.targets.size() != plan.sockets.size()) {
        throw Error(
            Errc::invalid, "cage " + cage.str() + ": " + std::to_string(sockets.size()) +
                               " sockets for a plan of " + std::to_string(plan.sockets.size())
        );
    }
    check(rules);
    CageNet::Parts parts{
        cage,
        std::move(rules),
        std::move(plan),
        std::move(sockets),
        std::move(packet),
        std::move(bind_later),
        std::move(restored)
    };
    auto made = std::make_shared<CageNet>(
        SessionServices{executor_, config_, *resolver_, *opener_, *plane_, scratch_}, hooks_,
        std::move(parts)
    );
    cages_.emplace(std::move(cage), std::move(made));
}

asio::awaitable<void> Gatekeeper::allow(CageId cage, NetRule rule) {
    const auto found = cages_.find(cage);
    if (found == cages_.end())
        throw Error(Errc::not_found, "no network is attached to cage " + cage.str());
    check({rule});
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
    co_await resolver_->close();
}

}  // namespace volary::cage
