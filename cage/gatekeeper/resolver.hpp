// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/task_scope.hpp"
#include "cage/gatekeeper/address.hpp"

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace volary::cage {

/// What a name stands for on the host's side.
struct Resolved {
    std::vector<Address> addresses;  ///< empty: not found, or not in time
    /// Set by an operator's override that names a port.
    std::optional<std::uint16_t> port;
    /// From the operator's overrides: may be private.
    bool trusted = false;
};

/// Resolves real names: the operator's overrides, else the host's resolver (getaddrinfo, on a few
/// threads of its own). Concurrent questions for one name share one look-up; answers are kept for
/// 5 s, which spares the resolver a browser's six connections.
///
/// A cage with a wildcard rule chooses names, and who answers them may take his time: each asker
/// has two look-ups under way at most, so that one never holds up all others.
/// Lives on the control thread; `close()` before destruction.
class Resolver {
public:
    /// `hosts`: name -> "1.2.3.4", "1.2.3.4:8080", "2001:db8::1" or "[2001:db8::1]:8080".
    /// Throws Error{invalid} naming an override that is none of these.
    Resolver(
        asio::any_io_executor executor, const std::map<std::string, std::string>& hosts,
        std::chrono::milliseconds timeout
    );
    ~Resolver();

    /// `asker`: whose question it is, a cage's id; empty: the daemon's own.
    asio::awaitable<Resolved> resolve(std::string name, std::string asker);

    /// Waits for what getaddrinfo has begun, which cannot be cancelled.
    asio::awaitable<void> close();

private:
    struct Lookup;
    struct Slot;
    std::shared_ptr<Lookup> start(const std::string& name, const std::string& asker);
    void start_waiting();
    bool start_one(const std::shared_ptr<Lookup>& lookup);
    Slot* free_slot();
    asio::awaitable<void> look_up(std::shared_ptr<Lookup> lookup, Slot* slot);
    void forget_old();

    asio::any_io_executor executor_;
    std::chrono::milliseconds timeout_;
    std::map<std::string, Resolved> overrides_;
    std::map<std::string, std::shared_ptr<Lookup>> lookups_;
    std::deque<std::shared_ptr<Lookup>> waiting_;
    std::map<std::string, int> running_;        ///< look-ups under way, by asker
    std::vector<std::unique_ptr<Slot>> slots_;  ///< made when they are needed
    TaskScope scope_;                           // Last: its tasks use everything above.
};

}  // namespace volary::cage
