// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/resolver.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <charconv>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

namespace volary::cage {
namespace {

using std::chrono::steady_clock;

constexpr auto kKeep = std::chrono::seconds(5);
// Names of all cages within kKeep; a wildcard lets a cage choose names.
constexpr std::size_t kMaxLookups = 4096;
constexpr std::size_t kMaxAddresses = 8;

std::optional<Resolved> parse_override(std::string_view text) {
    Resolved made;
    made.trusted = true;
    auto host = text;
    const auto colon = text.rfind(':');
    const bool bracketed = text.starts_with('[');
    const bool one_colon = colon != std::string_view::npos && text.find(':') == colon;
    if (one_colon || (bracketed && colon != std::string_view::npos && text[colon - 1] == ']')) {
        std::uint16_t port = 0;
        const auto* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
        if (error != std::errc{} || stop != end || port == 0) return std::nullopt;
        made.port = port;
        host = text.substr(0, colon);
    }
    if (bracketed) {
        if (!host.ends_with(']')) return std::nullopt;
        host = host.substr(1, host.size() - 2);
    }
    const auto address = parse_address(host);
    if (!address) return std::nullopt;
    made.addresses = {*address};
    return made;
}

Address from_asio(const asio::ip::address& given) {
    Address address;
    address.v6 = given.is_v6();
    if (given.is_v6()) {
        std::ranges::copy(given.to_v6().to_bytes(), address.bytes.begin());
    } else {
        std::ranges::copy(given.to_v4().to_bytes(), address.bytes.begin());
    }
    return address;
}

}  // namespace

/// One look-up, running or finished. `ready` expires at the deadline and is cancelled when the
/// answer is there, so any number of coroutines can wait for either.
struct Resolver::Lookup {
    explicit Lookup(const asio::any_io_executor& executor) : resolver(executor), ready(executor) {}
    asio::ip::tcp::resolver resolver;
    asio::steady_timer ready;
    bool done = false;
    steady_clock::time_point started = steady_clock::now();
    Resolved answer;
};

Resolver::Resolver(
    asio::any_io_executor executor, const std::map<std::string, std::string>& hosts,
    std::chrono::milliseconds timeout
)
    : executor_(std::move(executor)), timeout_(timeout) {
    for (const auto& [name, text] : hosts) {
        auto parsed = parse_override(text);
        if (!parsed) {
            throw Error(
                Errc::invalid, "hosts: \"" + name + "\": \"" + text + "\" is not an address"
            );
        }
        overrides_.emplace(name, std::move(*parsed));
    }
}

Resolver::~Resolver() = default;

void Resolver::forget_old() {
    const auto limit = steady_clock::now() - std::max<steady_clock::duration>(kKeep, timeout_);
    std::erase_if(lookups_, [&](const auto& item) { return item.second->started < limit; });
}

std::shared_ptr<Resolver::Lookup> Resolver::start(const std::string& name) {
    auto lookup = std::make_shared<Lookup>(executor_);
    lookup->ready.expires_after(timeout_);
    auto answered = [lookup](
                        const boost::system::error_code& error,
                        const asio::ip::tcp::resolver::results_type& results
                    ) {
        lookup->done = true;
        if (!error) {
            for (const auto& entry : results) {
                if (lookup->answer.addresses.size() == kMaxAddresses) break;
                lookup->answer.addresses.push_back(from_asio(entry.endpoint().address()));
            }
        }
        lookup->ready.cancel();
    };
    lookup->resolver.async_resolve(name, "", std::move(answered));
    lookups_.insert_or_assign(name, lookup);
    return lookup;
}

asio::awaitable<Resolved> Resolver::resolve(std::string name) {
    const auto override = overrides_.find(name);
    if (override != overrides_.end()) co_return override->second;
    if (lookups_.size() >= kMaxLookups) forget_old();
    if (lookups_.size() >= kMaxLookups) co_return Resolved{};
    std::shared_ptr<Lookup> lookup;
    const auto found = lookups_.find(name);
    if (found != lookups_.end()) lookup = found->second;
    const bool fresh = lookup && (!lookup->done || (steady_clock::now() - lookup->started < kKeep &&
                                                    !lookup->answer.addresses.empty()));
    if (!fresh) lookup = start(name);
    if (!lookup->done) co_await lookup->ready.async_wait(as_result);
    co_return lookup->done ? lookup->answer : Resolved{};
}

}  // namespace volary::cage
