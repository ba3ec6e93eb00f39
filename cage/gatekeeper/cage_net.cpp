// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/cage_net.hpp"

#include "base/error.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <sys/socket.h>
#include <utility>

namespace volary::cage {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr int kMaxAcceptsPerTurn = 32;
// When the process is out of descriptors, accepting again at once would only spin.
constexpr auto kAcceptBackOff = 100ms;

}  // namespace

/// A name that is being given its address and listeners.
struct Gatekeeper::CageNet::Naming {
    explicit Naming(const asio::any_io_executor& executor) : changed(executor) {}
    bool done = false;
    Notifier changed;
};

/// Holds a name's place while its listeners are made; wakes who waits, however that ends.
class Gatekeeper::CageNet::NamingTurn {
public:
    using Map = std::map<std::string, std::shared_ptr<Naming>>;
    NamingTurn(Map& map, std::string name, const asio::any_io_executor& executor)
        : map_(map), name_(std::move(name)), naming_(std::make_shared<Naming>(executor)) {
        map_.emplace(name_, naming_);
    }
    NamingTurn(const NamingTurn&) = delete;
    NamingTurn& operator=(const NamingTurn&) = delete;
    ~NamingTurn() {
        naming_->done = true;
        naming_->changed.notify();
        map_.erase(name_);
    }

private:
    Map& map_;
    std::string name_;
    std::shared_ptr<Naming> naming_;
};

Gatekeeper::CageNet::CageNet(SessionServices services, const GatekeeperHooks& hooks, Parts parts)
    : hooks_(hooks),
      cage_(parts.cage),
      bind_later_(std::move(parts.bind_later)),
      names_(parts.rules, parts.plan),
      denials_(parts.cage),
      flush_(services.executor),
      connection_rate_(services.config.connection_burst, services.config.connections_per_second),
      dns_rate_(services.config.dns_burst, services.config.dns_per_second),
      scope_(services.executor, log_task_errors()),
      context_{
          services, cage_.str(), std::make_shared<ByteBudget>(), scope_,
          [this](Denial denial) { deny(std::move(denial)); }
      },
      dns_(
          scope_, {.now = [this](const DnsQuery& query) { return answer_now(query); },
                   .later = [this](DnsQuery query) { return answer_later(std::move(query)); }}
      ) {
    const auto& most = services.config.max_bytes;
    context_.budget->limited = most.has_value();
    if (most) context_.budget->left = static_cast<std::int64_t>(*most);
    context_.budget->pace.limit(services.config.bytes_per_second);
    for (std::size_t i = 0; i < parts.sockets.size(); ++i)
        listen(std::move(parts.sockets[i]), parts.plan.sockets[i], parts.plan.targets[i]);
    restore(std::move(parts.restored));
    if (parts.packet) {
        (void)filter_attempts(parts.packet.get());
        scope_.spawn(
            "packet watch", watch(make_descriptor(services.executor, std::move(parts.packet)))
        );
    }
}

asio::awaitable<void> Gatekeeper::CageNet::close() {
    *alive_ = false;
    flush_.cancel();
    co_await scope_.close();
    tell(denials_.flush(steady_clock::time_point::max() - 1h));
}

void Gatekeeper::CageNet::listen(UniqueFd socket, const SocketSpec& spec, SocketTarget target) {
    switch (spec.kind) {
        case SocketSpec::Kind::dns_udp:
            return dns_.serve_udp(std::move(socket));
        case SocketSpec::Kind::dns_tcp:
            return dns_.serve_tcp(std::move(socket));
        case SocketSpec::Kind::listen:
            break;
    }
    names_.bound(spec);
    // What it accepts inherits this.
    send_at_once(socket.get());
    auto listener = make_descriptor(scope_.executor(), std::move(socket));
    scope_.spawn("accept", accept_loop(std::move(listener), std::move(target)));
}

asio::awaitable<void> Gatekeeper::CageNet::accept_loop(
    DescriptorPtr listener, SocketTarget target
) {
    asio::steady_timer pause(scope_.executor());
    for (;;) {
        const auto [error] = co_await listener->async_wait(Descriptor::wait_read, as_result);
        if (error) co_return;
        bool exhausted = false;
        for (int turn = 0; turn < kMaxAcceptsPerTurn; ++turn) {
            UniqueFd connection(
                ::accept4(listener->native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)
            );
            if (!connection) {
                exhausted = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
                break;
            }
            try {
                accepted(std::move(connection), target);
            } catch (const std::exception& error) {
                // One that cannot be served must not end the listener of all that follow.
                log::warning(
                    "a connection of a cage could not be served",
                    {{"cage", cage_.str()}, {"name", target.name}, {"error", error.what()}}
                );
            }
        }
        if (!exhausted) continue;
        log::warning("out of descriptors for the connections of a cage", {{"cage", cage_.str()}});
        pause.expires_after(kAcceptBackOff);
        co_await pause.async_wait(as_result);
    }
}

void Gatekeeper::CageNet::accepted(UniqueFd connection, const SocketTarget& target) {
    if (target.kind == SocketTarget::Kind::internal) {
        if (hooks_.internal) hooks_.internal(cage_, target.name, std::move(connection));
        return;
    }
    if (scope_.closing()) return reset_on_close(connection.get());
    const auto& config = context_.config;
    const auto& budget = *context_.budget;
    if (log_.open() >= config.max_connections) {
        reset_on_close(connection.get());
        return deny_limit("more than " + std::to_string(config.max_connections) + " connections");
    }
    if (budget.limited && budget.left.load() <= 0) {
        reset_on_close(connection.get());
        return deny_limit("more than " + std::to_string(*config.max_bytes) + " bytes");
    }
    if (!connection_rate_.take(steady_clock::now())) {
        reset_on_close(connection.get());
        const auto rate = std::to_string(config.connections_per_second);
        return deny_limit("more than " + rate + " new connections a second");
    }
    start_session(std::move(connection), target);
}

void Gatekeeper::CageNet::deny_limit(std::string what) {
    Denial denial;
    denial.layer = "limit";
    denial.what = std::move(what);
    deny(std::move(denial));
}

std::optional<SessionTarget> Gatekeeper::CageNet::target_of(
    int connection, const SocketTarget& target
) {
    const auto& rules = names_.rules();
    const auto& rule = rules.at(target.rule);
    SessionTarget made{rule, target.name, std::nullopt, {}};
    if (rule.kind == NetRule::Kind::address) made.address = parse_address(rule.host);
    const auto together = names_.rules_for(target.rule, target.name);
    made.rule.allow_private = std::ranges::any_of(together, &NetRule::allow_private);
    made.expectation = expectation_of(made, together);
    if (rule.kind != NetRule::Kind::cidr) return made;
    // One listener serves every block with its port: which of them it was says the address.
    const auto endpoint = local_endpoint(connection);
    if (!endpoint) return std::nullopt;
    const auto* block = names_.block_of(endpoint->address, rule.port);
    if (block == nullptr) {
        Attempt attempt;
        attempt.target = endpoint->address;
        attempt.port = rule.port;
        attempted(attempt);
        return std::nullopt;
    }
    made.rule = *block;
    made.address = endpoint->address;
    made.name = endpoint->address.text();
    return made;
}

Expectation Gatekeeper::CageNet::expectation_of(
    const SessionTarget& target, const std::vector<NetRule>& rules
) {
    auto made = expect(target.rule, target.name);
    made.requests = request_rules(rules);
    if (made.credential.empty()) {
        // One rule without methods and paths frees the port for everything that rule allows.
        auto free = target.rule;
        free.methods.clear();
        free.paths.clear();
        if (made.requests.empty()) made.protocol = expect(free, target.name).protocol;
        return made;
    }
    const auto& credential = context_.config.credentials.at(made.credential);
    made.change.header = credential.header;
    made.change.value = credential.value;
    made.change.host = target.name;
    if (target.rule.port != 443) made.change.host += ":" + std::to_string(target.rule.port);
    return made;
}

void Gatekeeper::CageNet::start_session(UniqueFd connection, const SocketTarget& target) {
    auto made = target_of(connection.get(), target);
    if (!made) {
        reset_on_close(connection.get());
        return;
    }
    auto session = std::make_shared<Session>(context_, std::move(connection), std::move(*made));
    // The log asks open sessions only, and a session tells its end before it goes.
    const auto id = log_.opened([raw = session.get(), this] {
        auto now = raw->connection();
        now.cage = cage_;
        return now;
    });
    session->on_end([this, id](Connection done) { session_ended(id, std::move(done)); });
    scope_.spawn("session", Session::run(std::move(session)));
}

void Gatekeeper::CageNet::session_ended(NetworkLog::Id id, Connection connection) {
    connection.cage = cage_;
    log_.closed(id, connection);
    if (hooks_.closed) hooks_.closed(std::move(connection));
}

asio::awaitable<void> Gatekeeper::CageNet::allow(NetRule rule) {
    auto all = names_.rules();
    all.push_back(rule);
    // For its checks only: what is there keeps its place.
    const auto planned = plan_network(all, {});
    if (!bind_later_ && rule.kind != NetRule::Kind::wildcard)
        throw Error(Errc::unavailable, "net rule \"" + rule.text + "\": no listener can be added");
    const auto index = names_.add(rule);
    const bool numeric = rule.kind == NetRule::Kind::address || rule.kind == NetRule::Kind::cidr;
    for (std::size_t i = 0; numeric && i < planned.sockets.size(); ++i) {
        if (planned.targets[i].name != rule.host || names_.has(planned.sockets[i])) continue;
        const SocketTarget target{SocketTarget::Kind::rule, index, rule.host};
        co_await listen_now(planned.sockets[i], target);
    }
    if (numeric || rule.kind == NetRule::Kind::wildcard) co_return;
    // The first turn may only have waited for one that began before the rule was there.
    for (int turn = 0; turn < 2 && !names_.missing(rule.host).empty(); ++turn)
        co_await ensure_name(rule.host);
    if (!names_.missing(rule.host).empty())
        throw Error(Errc::unavailable, "net rule \"" + rule.text + "\": no listener could be made");
}

void Gatekeeper::CageNet::restore(std::vector<Restored> restored) {
    restored_ = std::move(restored);
    std::vector<std::string> names;
    for (const auto& each : restored_) {
        if (each.name.empty() || !names_.restore(each.name, each.spec.address)) continue;
        if (std::ranges::find(names, each.name) == names.end()) names.push_back(each.name);
    }
    for (auto& name : names) scope_.spawn("restore a name", ensure_name(std::move(name)));
}

asio::awaitable<UniqueFd> Gatekeeper::CageNet::obtain(SocketSpec spec, std::string name) {
    const auto found = std::ranges::find(restored_, spec, &Restored::spec);
    if (found == restored_.end()) co_return co_await bind_later_(std::move(spec), std::move(name));
    auto socket = std::move(found->socket);
    restored_.erase(found);
    co_return std::move(socket);
}

asio::awaitable<void> Gatekeeper::CageNet::listen_now(SocketSpec spec, SocketTarget target) {
    auto socket = co_await obtain(spec, {});
    if (!socket) throw Error(Errc::unavailable, "no listener on " + spec.address + " in the cage");
    listen(std::move(socket), spec, std::move(target));
}

std::string Gatekeeper::CageNet::answer_known(const DnsQuery& query) const {
    const auto* entry = names_.find(query.name);
    if (entry == nullptr) return answer_dns(query, DnsOutcome::no_service);
    if (query.type == kDnsTypeA)
        return answer_dns(query, DnsOutcome::address, parse_address(entry->fake_v4));
    if (query.type == kDnsTypeAaaa)
        return answer_dns(query, DnsOutcome::address, parse_address(entry->fake_v6));
    // HTTPS and SVCB above all: an answer could name other addresses, ports and ECH keys.
    return answer_dns(query, DnsOutcome::no_data);
}

std::optional<std::string> Gatekeeper::CageNet::answer_now(const DnsQuery& query) {
    if (!dns_rate_.take(steady_clock::now())) {
        const auto rate = std::to_string(context_.config.dns_per_second);
        deny_limit("more than " + rate + " DNS questions a second");
        return answer_dns(query, DnsOutcome::refused);
    }
    if (query.name == "localhost") {
        if (query.type == kDnsTypeA)
            return answer_dns(query, DnsOutcome::address, parse_address("127.0.0.1"));
        if (query.type == kDnsTypeAaaa)
            return answer_dns(query, DnsOutcome::address, parse_address("::1"));
        return answer_dns(query, DnsOutcome::no_data);
    }
    const bool known = names_.find(query.name) != nullptr;
    const bool wildcard = names_.matches_wildcard(query.name);
    if (bind_later_ && (known || wildcard)) {
        if (!known || !names_.missing(query.name).empty()) return std::nullopt;
    } else if (!known) {
        Denial denial;
        denial.layer = "dns";
        denial.what = "name " + (query.name.empty() ? "." : query.name);
        // 443 is what most names are asked for; the operator sees the line before it is used.
        denial.rule = query.name.empty() ? "" : query.name + ":443";
        deny(std::move(denial));
        return answer_dns(query, DnsOutcome::no_name);
    }
    return answer_known(query);
}

asio::awaitable<std::string> Gatekeeper::CageNet::answer_later(DnsQuery query) {
    co_await ensure_name(query.name);
    const bool whole = names_.find(query.name) != nullptr && names_.missing(query.name).empty();
    if (!whole) co_return answer_dns(query, DnsOutcome::no_service);
    co_return answer_known(query);
}

asio::awaitable<void> Gatekeeper::CageNet::ensure_name(std::string name) {
    const auto running = naming_.find(name);
    if (running != naming_.end()) {
        const auto shared = running->second;
        while (!shared->done) co_await shared->changed.wait();
        co_return;
    }
    if (!names_.allocate(name)) {
        deny_limit("more than " + std::to_string(kMaxWildcardNames) + " wildcard names");
        co_return;
    }
    const NamingTurn turn(naming_, name, scope_.executor());
    try {
        for (const auto& item : names_.missing(name)) {
            auto socket = co_await obtain(item.spec, name);
            if (socket) listen(std::move(socket), item.spec, item.target);
        }
    } catch (const Error& error) {
        log::warning(
            "no listener for a name",
            {{"cage", cage_.str()}, {"name", name}, {"error", error.what()}}
        );
    }
}

asio::awaitable<void> Gatekeeper::CageNet::watch(DescriptorPtr packet) {
    // Named before the loop: a lambda has no place inside an expression that waits.
    const std::function<void(const Attempt&)> seen = [this](const Attempt& attempt) {
        const bool tcp = attempt.protocol == Attempt::Protocol::tcp;
        if (!tcp || !names_.listens(attempt.target, attempt.port)) attempted(attempt);
    };
    for (;;) {
        const auto [error] = co_await packet->async_wait(Descriptor::wait_read, as_result);
        if (error) co_return;
        (void)read_attempts(packet->native_handle(), seen);
    }
}

void Gatekeeper::CageNet::attempted(const Attempt& attempt) {
    const auto name = names_.name_of(attempt.target);
    const auto protocol = std::string(to_string(attempt.protocol));
    std::string where;
    if (attempt.protocol == Attempt::Protocol::icmp) {
        where = name.empty() ? attempt.target.text() : name;
    } else {
        where = name.empty() ? endpoint_text(attempt.target, attempt.port)
                             : name + ":" + std::to_string(attempt.port);
    }
    Denial denial;
    denial.layer = "net";
    denial.what = protocol + " " + where;
    if (attempt.protocol == Attempt::Protocol::tcp) {
        const bool inner = name.empty() && is_private(attempt.target);
        denial.rule = inner ? "{ to: \"" + where + "\", private: true }" : where;
    }
    deny(std::move(denial));
}

void Gatekeeper::CageNet::deny(Denial denial) {
    log_.denied(denial.count);
    tell(denials_.add(std::move(denial), steady_clock::now()));
    arm_flush();
}

void Gatekeeper::CageNet::tell(std::vector<Denial> due) {
    if (!hooks_.denied) return;
    for (auto& denial : due) hooks_.denied(std::move(denial));
}

void Gatekeeper::CageNet::arm_flush() {
    const auto next = denials_.next_flush();
    if (!next || !*alive_ || flush_.expiry() == *next) return;
    flush_.expires_at(*next);
    auto due = [this, alive = alive_](const boost::system::error_code& error) {
        if (error || !*alive) return;
        tell(denials_.flush(steady_clock::now()));
        arm_flush();
    };
    flush_.async_wait(std::move(due));
}

}  // namespace volary::cage
