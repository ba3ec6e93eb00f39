// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/store/store.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

Json grant_json(const session::Granted& grant) {
    return {{"rule", grant.rule}, {"layer", grant.layer},     {"scope", grant.scope},
            {"at_ms", grant.at},  {"by", grant.by},           {"private", grant.allow_private},
            {"seq", grant.seq},   {"applied", grant.applied}, {"reason", grant.reason}};
}

/// What was granted to this cage, or to all of its agent.
Json grants_of(const session::State& state, const session::CageRecord& cage) {
    Json out = Json::array();
    for (const auto& grant : state.grants) {
        const auto& cages = grant.cages;
        const bool meant = std::find(cages.begin(), cages.end(), cage.id) != cages.end();
        if (meant || (grant.agent == cage.agent && grant.scope != "once"))
            out.push_back(grant_json(grant));
    }
    return out;
}

const agent::LiveUse* use_of(const std::vector<agent::LiveUse>& all, const CageId& cage) {
    const auto is = [&](const agent::LiveUse& use) { return use.cage == cage; };
    const auto found = std::find_if(all.begin(), all.end(), is);
    return found == all.end() ? nullptr : &*found;
}

Json limits_of(const Json& started, const agent::LiveUse* use) {
    auto out = started.value("limits", Json::array());
    for (auto& limit : out) {
        limit["used"] = nullptr;
        if (use == nullptr) continue;
        const auto known = use->limits.find(string_or(limit, "name"));
        if (known != use->limits.end()) limit["used"] = known->second;
    }
    return out;
}

/// Null when nobody remembers.
Json network_json(const session::CageRecord& cage, const cage::NetUse& use) {
    if (!cage.running && use.total == 0) return nullptr;
    return {
        {"open", use.open},
        {"total", use.total},
        {"bytes_up", use.bytes_up},
        {"bytes_down", use.bytes_down}
    };
}

/// `started` is the body of the cage's `cage.started`.
Json card_json(
    const session::State& state, const session::CageRecord& cage, const Json& started,
    const agent::LiveUse* use, const cage::NetUse& network
) {
    return {
        {"cage", cage.id.str()},
        {"agent", cage.agent},
        {"invocation", cage.invocation.str()},
        {"running", cage.running},
        {"started_ms", cage.started_at},
        {"backend", string_or(started, "backend")},
        {"layers", started.value("layers", Json::array())},
        {"limits_backend", string_or(started, "limits_backend")},
        {"policy", started.value("policy", Json::object())},
        {"limits", limits_of(started, use)},
        {"denials", cage.denials},
        {"network", network_json(cage, network)},
        {"grants", grants_of(state, cage)}
    };
}

asio::awaitable<http::Response> cages(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    const auto state = co_await services.sessions.state(session);
    const auto use = services.agents.use(session);
    Json out = Json::array();
    for (const auto& cage : state.cages) {
        const auto events = co_await services.store.events(session, cage.seq - 1, 1);
        const auto started =
            events.empty() ? Json::object() : Json::parse(events.front().body, nullptr, false);
        const auto network = services.agents.network(cage.id);
        out.push_back(card_json(state, cage, started, use_of(use, cage.id), network));
    }
    co_return json_answer(200, {{"cages", std::move(out)}});
}

Json connection_json(const cage::Connection& connection) {
    return {
        {"at_ms", connection.at_ms},
        {"name", connection.name},
        {"port", connection.port},
        {"bytes_up", connection.bytes_up},
        {"bytes_down", connection.bytes_down},
        {"duration_ms", connection.open ? Json(nullptr) : Json(connection.duration.count())},
        {"verdict", connection.verdict}
    };
}

Json connection_json(const store::ConnectionRow& row) {
    return {
        {"at_ms", row.at},
        {"cage", row.cage.str()},
        {"name", row.name},
        {"port", row.port},
        {"bytes_up", row.bytes_up},
        {"bytes_down", row.bytes_down},
        {"duration_ms", row.duration_ms},
        {"verdict", row.verdict}
    };
}

constexpr std::int64_t kMaxConnectionPage = 10'000;

asio::awaitable<http::Response> network(const Services& services, http::Request& request) {
    const CageId cage(request.params.at(0));
    const auto limit = number_of(request, "limit", 200, 1, kMaxConnectionPage);
    const auto known = co_await services.store.find_cage(cage);
    if (!known) throw Error(Errc::not_found, "no cage " + cage.str());
    const auto live = services.agents.connections(cage);
    const auto kept = co_await services.store.connections(known->session, cage, limit);
    Json out = Json::array();
    // The gatekeeper knows what is open and what has ended last; the store what ended before.
    const auto closed = static_cast<std::size_t>(
        std::count_if(live.begin(), live.end(), [](const auto& c) { return !c.open; })
    );
    const auto most = static_cast<std::size_t>(limit);
    for (const auto& connection : live) {
        if (out.size() < most) out.push_back(connection_json(connection));
    }
    for (std::size_t i = closed; i < kept.size() && out.size() < most; ++i)
        out.push_back(connection_json(kept[i]));
    co_return json_answer(200, {{"connections", std::move(out)}});
}

asio::awaitable<http::Response> session_network(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    const auto limit = number_of(request, "limit", 200, 1, kMaxConnectionPage);
    co_await services.sessions.last_seq(session);
    const auto kept = co_await services.store.connections(session, CageId(), limit);
    Json out = Json::array();
    for (const auto& row : kept) out.push_back(connection_json(row));
    co_return json_answer(200, {{"connections", std::move(out)}});
}

}  // namespace

void Api::add_cage_routes() {
    const auto add = [this](auto handler, std::string path, std::string what) {
        const auto handle = [this, handler](http::Request& request) {
            return handler(services_, request);
        };
        http::RouteOptions options;
        options.summary = std::move(what);
        router_.add("GET", std::move(path), http::AsyncHandler(handle), options);
    };
    add(&cages, "/api/v1/sessions/{id}/cages", "the cages of its current or last run");
    add(&network, "/api/v1/cages/{cage}/network", "a cage's network log, newest first");
    add(&session_network, "/api/v1/sessions/{id}/network",
        "finished connections of all its cages, newest first");
}

}  // namespace volary::api
