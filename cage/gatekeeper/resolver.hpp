// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "cage/gatekeeper/address.hpp"

#include <chrono>
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

/// Resolves real names: the operator's overrides, else the host's resolver (getaddrinfo on Asio's
/// own thread). Concurrent questions for one name share one look-up; answers are kept for 5 s,
/// which spares the resolver a browser's six connections.
class Resolver {
public:
    /// `hosts`: name -> "1.2.3.4", "1.2.3.4:8080", "2001:db8::1" or "[2001:db8::1]:8080".
    /// Throws Error{invalid} naming an override that is none of these.
    Resolver(
        asio::any_io_executor executor, const std::map<std::string, std::string>& hosts,
        std::chrono::milliseconds timeout
    );
    ~Resolver();

    asio::awaitable<Resolved> resolve(std::string name);

private:
    struct Lookup;
    std::shared_ptr<Lookup> start(const std::string& name);
    void forget_old();

    asio::any_io_executor executor_;
    std::chrono::milliseconds timeout_;
    std::map<std::string, Resolved> overrides_;
    std::map<std::string, std::shared_ptr<Lookup>> lookups_;
};

}  // namespace volary::cage
