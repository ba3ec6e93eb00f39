// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/access.hpp"

#include "base/bytes.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "daemon/access/secrets.hpp"
#include "daemon/http/router.hpp"

#include <utility>

namespace volary::access {
namespace {

constexpr UnixMillis kCodeLifeMs = 10 * 60 * 1000;
/// A phone that is used at all stays signed in; one that lies in a drawer does not.
constexpr UnixMillis kDeviceLifeMs = 30LL * 24 * 60 * 60 * 1000;
/// How long a cookie that was found good is believed without asking the store.
constexpr UnixMillis kBelieveMs = 15'000;
/// "Last seen" is told in minutes; writing it more often would only cost commits.
constexpr UnixMillis kTouchMs = 5 * 60 * 1000;
constexpr std::size_t kMaxKnown = 1024;
/// 2^128 codes at ten guesses a minute: never. The limit is there to make noise visible.
constexpr std::size_t kMaxWrongCodes = 10;
constexpr UnixMillis kWrongCodeWindowMs = 60'000;

SingleHeader single(const http::Headers& headers, std::string_view name) {
    return {headers.count(name), headers.find(name).value_or(std::string_view())};
}

RequestFacts facts_of(const http::Request& request) {
    RequestFacts facts;
    switch (request.peer.kind) {
        case http::Peer::Kind::unix_socket:
            facts.source = RequestFacts::Source::operator_socket;
            break;
        case http::Peer::Kind::tcp:
            facts.source = RequestFacts::Source::tcp;
            break;
        case http::Peer::Kind::cage:
            facts.source = RequestFacts::Source::cage;
            break;
    }
    facts.method = request.method;
    facts.local = request.peer.local;
    facts.host = single(request.headers, "Host");
    facts.origin = single(request.headers, "Origin");
    facts.fetch_site = single(request.headers, "Sec-Fetch-Site");
    facts.client = single(request.headers, "X-Volary-Client");
    if (request.route != nullptr) {
        facts.websocket = request.route->websocket;
        facts.open = request.route->options.access == http::RouteAccess::open;
        facts.capability = request.route->options.access == http::RouteAccess::capability;
    } else {
        // Pages hold no data; what they load from /api does.
        facts.open = !request.path.starts_with("/api/") && request.path != "/api";
    }
    return facts;
}

/// A browser shows what it gets, so a person gets a sentence and a program the error shape.
http::Response refuse_launch(const http::Request& request, int status, std::string_view message) {
    const auto accept = request.headers.find("Accept").value_or("");
    if (accept.find("text/html") != std::string_view::npos)
        return http::Response::text(status, std::string(message) + "\n");
    return http::Response::error(status, status == 429 ? Errc::busy : Errc::denied, message);
}

}  // namespace

Access::Access(AccessConfig config, CredentialStore& store, const Clock& clock)
    : config_(std::move(config)), store_(store), clock_(clock), group_(config_.group, clock) {}

http::Guard Access::guard() {
    return [this](http::Request& request) { return judge(request); };
}

http::Verdict Access::judge(http::Request& request) {
    auto facts = facts_of(request);
    if (facts.source != RequestFacts::Source::tcp) {
        const auto identity = peer_identity(request.peer);
        if (identity) facts.identity = *identity;
        return conclude(request, facts, "peer");
    }
    if (request.headers.count("Cookie") == 1) {
        const auto cookie = find_cookie(*request.headers.find("Cookie"));
        if (cookie) {
            auto hash = hash_secret(*cookie);
            const auto found = known_.find(hash);
            if (found == known_.end() || clock_.now_ms() >= found->second.until)
                return judge_cookie(request, std::move(hash));
            facts.identity = found->second.identity;
        }
    }
    return conclude(request, facts, "cookie");
}

http::Verdict Access::conclude(
    http::Request& request, const RequestFacts& facts, std::string_view source
) {
    auto decision = decide(facts, config_.allowed);
    if (const auto* refusal = std::get_if<Refuse>(&decision))
        return http::Response::error(refusal->status, refusal->code, refusal->message);
    request.identity = std::move(std::get<Allow>(decision).identity);
    if (!request.identity.empty()) request.identity_source = source;
    return http::Proceed{};
}

std::optional<std::string> Access::peer_identity(const http::Peer& peer) {
    if (peer.kind != http::Peer::Kind::unix_socket) return std::nullopt;
    if (peer.uid != 0 && peer.uid != config_.own_uid && !group_.has(peer.uid)) return std::nullopt;
    return "uid " + std::to_string(peer.uid);
}

asio::awaitable<std::optional<http::Response>> Access::judge_cookie(
    http::Request& request, std::string token_hash
) {
    known_.erase(token_hash);
    const auto device = co_await store_.find_device(token_hash);
    const auto now = clock_.now_ms();
    auto facts = facts_of(request);
    const bool good = device && !device->revoked && now < device->expires_at &&
                      equal_constant_time(device->token_hash, token_hash);
    std::string identity;
    if (good) {
        identity = "device " + device->name;
        facts.identity = identity;
        if (known_.size() >= kMaxKnown) known_.clear();
        known_[token_hash] = {*device, identity, now + kBelieveMs};
        if (now - device->last_seen >= kTouchMs) co_await store_.touch_device(device->id, now);
    }
    auto verdict = conclude(request, facts, "cookie");
    if (auto* refusal = std::get_if<http::Response>(&verdict)) co_return std::move(*refusal);
    co_return std::nullopt;
}

void Access::add_routes(http::Router& router) {
    http::RouteOptions code_options;
    code_options.summary = "Make a one-use launch code (operator socket only)";
    router.add(
        "POST", "/api/v1/auth/launch-codes",
        [this](http::Request& request) { return make_code(request); }, code_options
    );
    http::RouteOptions launch_options;
    launch_options.access = http::RouteAccess::open;
    launch_options.summary = "Sign this browser in with a launch code";
    router.add(
        "GET", "/launch/{code}", [this](http::Request& request) { return launch(request); },
        launch_options
    );
    http::RouteOptions me_options;
    me_options.summary = "Who is asking";
    router.add(
        "GET", "/api/v1/me",
        [](http::Request& request) {
            return http::Response::json(
                200, "{\"name\":" + json_quote(request.identity) +
                         ",\"source\":" + json_quote(request.identity_source) + "}"
            );
        },
        me_options
    );
}

asio::awaitable<http::Response> Access::make_code(http::Request& request) {
    if (request.peer.kind != http::Peer::Kind::unix_socket)
        throw Error(Errc::denied, "launch codes are made over the operator socket only");
    const auto code = random_token(kLaunchCodeBytes);
    const auto now = clock_.now_ms();
    const auto expires_at = now + kCodeLifeMs;
    co_await store_.put_launch_code(hash_secret(code), now, expires_at);
    log::info("launch code made", {{"operator", request.identity}});
    co_return http::Response::json(
        201, "{\"url\":" + json_quote(config_.base_url + "/launch/" + code) + ",\"code\":" +
                 json_quote(code) + ",\"expires_at\":" + std::to_string(expires_at) + "}"
    );
}

bool Access::too_many_guesses(UnixMillis now) {
    while (!wrong_codes_.empty() && wrong_codes_.front() <= now - kWrongCodeWindowMs)
        wrong_codes_.pop_front();
    return wrong_codes_.size() >= kMaxWrongCodes;
}

asio::awaitable<http::Response> Access::launch(http::Request& request) {
    if (request.method != "GET") {
        // A HEAD of a link checker must not use the code up.
        auto response = http::Response::error(405, Errc::invalid, "only GET uses a launch code");
        response.headers.add("Allow", "GET");
        co_return response;
    }
    const auto now = clock_.now_ms();
    if (too_many_guesses(now)) {
        auto response = refuse_launch(request, 429, "too many wrong codes: try again in a minute");
        response.headers.add("Retry-After", "60");
        co_return response;
    }
    const auto code = request.params.at(0);
    bool good = is_token(code, kLaunchCodeBytes);
    if (good) good = co_await store_.consume_launch_code(hash_secret(code), now);
    if (!good) {
        wrong_codes_.push_back(now);
        log::warning("wrong launch code", {{"peer", request.peer.address}});
        co_return refuse_launch(
            request, 403,
            "this launch link was used already or is older than ten minutes: "
            "`volary auth launch-url` makes a new one"
        );
    }
    const auto token = random_token(kCookieBytes);
    Device device;
    device.id = DeviceId::make(clock_);
    device.name = device.id.str();
    device.token_hash = hash_secret(token);
    device.created_at = device.last_seen = now;
    device.expires_at = now + kDeviceLifeMs;
    log::info("device signed in", {{"device", device.id.str()}, {"peer", request.peer.address}});
    co_await store_.put_device(std::move(device));
    auto response = http::Response::redirect("/");
    std::string cookie = std::string(kCookieName) + "=" + token;
    cookie +=
        "; Path=/; HttpOnly; SameSite=Strict; Max-Age=" + std::to_string(kDeviceLifeMs / 1000);
    if (config_.secure_cookie == SecureCookie::yes) cookie += "; Secure";
    response.headers.add("Set-Cookie", cookie);
    response.headers.add("Cache-Control", "no-store");
    co_return response;
}

http::Headers Access::security_headers() {
    return {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
         "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
         "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"X-Frame-Options", "DENY"}
    };
}

}  // namespace volary::access
