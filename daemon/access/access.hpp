// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/clock.hpp"
#include "base/ids.hpp"
#include "daemon/access/decide.hpp"
#include "daemon/access/group.hpp"
#include "daemon/http/types.hpp"

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <sys/types.h>

namespace volary::http {
class Router;
}

namespace volary::access {

/// A signed-in browser. Only the hash of its cookie is kept.
struct Device {
    DeviceId id;
    std::string token_hash;
    std::string name;
    UnixMillis created_at = 0;
    UnixMillis last_seen = 0;
    UnixMillis expires_at = 0;
    bool revoked = false;
};

/// Where codes and devices are kept. Owned by its user; the composition root puts the store
/// behind it.
class CredentialStore {
public:
    virtual ~CredentialStore() = default;
    virtual asio::awaitable<void> put_launch_code(
        std::string hash, UnixMillis created_at, UnixMillis expires_at
    ) = 0;
    /// True for exactly one caller, and only before it expires; the code is then used up.
    virtual asio::awaitable<bool> consume_launch_code(std::string hash, UnixMillis now) = 0;
    virtual asio::awaitable<void> put_device(Device device) = 0;
    virtual asio::awaitable<std::optional<Device>> find_device(std::string token_hash) = 0;
    virtual asio::awaitable<void> touch_device(DeviceId device, UnixMillis last_seen) = 0;
};

/// How cookies are marked: `yes` when TLS is in front of the daemon.
enum class SecureCookie { no, yes };

struct AccessConfig {
    Allowlist allowed;
    uid_t own_uid = 0;             ///< the daemon's user, who may always act
    std::string group = "volary";  ///< its members may act over the operator socket
    /// Where launch codes lead, e.g. "http://127.0.0.1:7700"; see set_base_url().
    std::string base_url;
    SecureCookie secure_cookie = SecureCookie::no;
};

/// The front door: who may send which request to the API (docs/security.md).
///
///     access::Access access(config, credentials, clock);
///     access.add_routes(router);
///     http::ServerOptions options;
///     options.headers = access::Access::security_headers();
///     http::Server server(executor, router, access.guard(), options);
///     access.set_base_url("http://127.0.0.1:" + std::to_string(port));
///
/// One thread. It outlives the server that asks its guard.
class Access {
public:
    Access(AccessConfig config, CredentialStore& store, const Clock& clock);

    /// Judges each request and sets its identity: "uid 0" (source "peer") or "device NAME"
    /// (source "cookie").
    http::Guard guard();

    /// POST /api/v1/auth/launch-codes, GET /launch/{code}, GET /api/v1/me.
    void add_routes(http::Router& router);

    /// Once the listener has its port.
    void set_base_url(std::string url) { config_.base_url = std::move(url); }

    /// Forgets what it remembers of cookies, so that a revocation holds at once.
    void forget_devices() { known_.clear(); }

    /// What every answer carries: a strict CSP and its companions.
    static http::Headers security_headers();

private:
    struct Known {
        Device device;
        std::string identity;
        UnixMillis until = 0;
    };
    http::Verdict judge(http::Request& request);
    http::Verdict conclude(
        http::Request& request, const RequestFacts& facts, std::string_view source
    );
    std::optional<std::string> peer_identity(const http::Peer& peer);
    asio::awaitable<std::optional<http::Response>> judge_cookie(
        http::Request& request, std::string token_hash
    );
    asio::awaitable<http::Response> make_code(http::Request& request);
    asio::awaitable<http::Response> launch(http::Request& request);
    bool too_many_guesses(UnixMillis now);

    AccessConfig config_;
    CredentialStore& store_;
    const Clock& clock_;
    GroupMembers group_;
    std::map<std::string, Known, std::less<>> known_;  ///< by token hash
    std::deque<UnixMillis> wrong_codes_;
};

}  // namespace volary::access
