// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/resolver.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/side_thread.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>

#include <boost/asio/steady_timer.hpp>

namespace volary::cage {
namespace {

using std::chrono::steady_clock;

constexpr auto kKeep = std::chrono::seconds(5);
// Names of all cages within kKeep; a wildcard lets a cage choose names.
constexpr std::size_t kMaxLookups = 4096;
constexpr std::size_t kMaxAddresses = 8;
// Each sleeps in getaddrinfo, for as long as a name server is slow.
constexpr std::size_t kThreads = 8;
constexpr int kPerAsker = 2;

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

std::optional<Address> address_of(const sockaddr* given) {
    Address address;
    if (given->sa_family == AF_INET) {
        std::memcpy(
            address.bytes.data(), &reinterpret_cast<const sockaddr_in*>(given)->sin_addr, 4
        );
        return address;
    }
    if (given->sa_family != AF_INET6) return std::nullopt;
    address.v6 = true;
    std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(given)->sin6_addr, 16);
    return address;
}

/// Blocks. What Asio's resolver asks for: families that this host has, in the order of RFC 6724.
std::vector<Address> ask_host(const std::string& name) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* list = nullptr;
    std::vector<Address> out;
    if (::getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return out;
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> held(list, &::freeaddrinfo);
    for (const auto* entry = list; entry != nullptr; entry = entry->ai_next) {
        const auto address = address_of(entry->ai_addr);
        if (address && out.size() < kMaxAddresses) out.push_back(*address);
    }
    return out;
}

}  // namespace

/// One look-up, waiting, running or finished. `ready` expires at the deadline and is cancelled when
/// the answer is there, so any number of coroutines can wait for either.
struct Resolver::Lookup {
    Lookup(const asio::any_io_executor& executor, std::string whom, std::string by)
        : name(std::move(whom)), asker(std::move(by)), ready(executor) {}

    void finish() {
        done = true;
        ready.cancel();
    }

    std::string name;
    std::string asker;
    asio::steady_timer ready;
    bool done = false;
    steady_clock::time_point started = steady_clock::now();
    Resolved answer;
};

/// A thread that one look-up at a time blocks.
struct Resolver::Slot {
    SideThread thread;
    bool busy = false;
};

Resolver::Resolver(
    asio::any_io_executor executor, const std::map<std::string, std::string>& hosts,
    std::chrono::milliseconds timeout
)
    : executor_(std::move(executor)), timeout_(timeout), scope_(executor_, log_task_errors()) {
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

std::shared_ptr<Resolver::Lookup> Resolver::start(
    const std::string& name, const std::string& asker
) {
    auto lookup = std::make_shared<Lookup>(executor_, name, asker);
    lookup->ready.expires_after(timeout_);
    lookups_.insert_or_assign(name, lookup);
    waiting_.push_back(lookup);
    start_waiting();
    return lookup;
}

void Resolver::start_waiting() {
    const auto too_old = steady_clock::now() - timeout_;
    // In the order of the questions; an asker who has enough under way holds up only himself.
    std::erase_if(waiting_, [&](const auto& lookup) {
        const bool late = lookup->started < too_old;
        if (late) lookup->finish();
        return late || start_one(lookup);
    });
}

bool Resolver::start_one(const std::shared_ptr<Lookup>& lookup) {
    if (scope_.closing()) return false;
    auto& running = running_[lookup->asker];
    auto* slot = running < kPerAsker ? free_slot() : nullptr;
    if (slot == nullptr) return false;
    ++running;
    slot->busy = true;
    scope_.spawn("look up " + lookup->name, look_up(lookup, slot));
    return true;
}

Resolver::Slot* Resolver::free_slot() {
    for (const auto& slot : slots_)
        if (!slot->busy) return slot.get();
    if (slots_.size() == kThreads) return nullptr;
    return slots_.emplace_back(std::make_unique<Slot>()).get();
}

asio::awaitable<void> Resolver::look_up(std::shared_ptr<Lookup> lookup, Slot* slot) {
    auto ask = [name = lookup->name] { return ask_host(name); };
    lookup->answer.addresses = co_await slot->thread.run(std::move(ask));
    slot->busy = false;
    const auto running = running_.find(lookup->asker);
    if (--running->second == 0) running_.erase(running);
    lookup->finish();
    start_waiting();
}

asio::awaitable<void> Resolver::close() {
    waiting_.clear();
    co_await scope_.close();
}

asio::awaitable<Resolved> Resolver::resolve(std::string name, std::string asker) {
    const auto override = overrides_.find(name);
    if (override != overrides_.end()) co_return override->second;
    if (lookups_.size() >= kMaxLookups) forget_old();
    if (lookups_.size() >= kMaxLookups) co_return Resolved{};
    std::shared_ptr<Lookup> lookup;
    const auto found = lookups_.find(name);
    if (found != lookups_.end()) lookup = found->second;
    const bool fresh = lookup && (!lookup->done || (steady_clock::now() - lookup->started < kKeep &&
                                                    !lookup->answer.addresses.empty()));
    if (!fresh) lookup = start(name, asker);
    if (!lookup->done) co_await lookup->ready.async_wait(as_result);
    co_return lookup->done ? lookup->answer : Resolved{};
}

}  // namespace volary::cage
