// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/access/port_tickets.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/http/upstream.hpp"
#include "daemon/session/manager.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

/// Where the capability URLs are; what follows is the token.
constexpr const char* kMount = "/ports/t";
/// What `volary cage forward` asks to upgrade to.
constexpr const char* kBytes = "volary-bytes";

Json port_json(const SessionId& session, const agent::PortCard& card) {
    return {
        {"agent", card.agent},
        {"cage", card.cage.str()},
        {"name", card.port.name},
        {"port", card.port.port},
        {"public", card.port.is_public},
        {"listening", card.listening},
        {"url", fmt::format("/ports/{}/{}/{}", session.str(), card.cage.str(), card.port.name)}
    };
}

asio::awaitable<http::Response> list(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    co_await services.sessions.last_seq(session);
    Json out = Json::array();
    for (const auto& card : services.agents.ports(session)) out.push_back(port_json(session, card));
    co_return json_answer(200, {{"ports", std::move(out)}});
}

/// The port called `name` of the newest cage that is meant: by its id, by the path of its agent
/// ("primary/web", in addresses "primary:web"), or any when `whose` is empty.
agent::PortCard find_port(
    const Services& services, const SessionId& session, std::string whose, const std::string& name
) {
    std::ranges::replace(whose, ':', '/');
    for (auto& card : services.agents.ports(session)) {
        if (card.port.name != name) continue;
        if (whose.empty() || whose == card.cage.str() || whose == card.agent) return card;
    }
    throw Error(
        Errc::not_found, fmt::format("no cage that runs in this session publishes \"{}\"", name)
    );
}

/// Everybody who may see a session is an operator today, and every operator may edit it: whoever
/// the guard let in may open its ports. Sharing will look at `public` here.
access::PortTickets::Issued issue(
    const Services& services, const http::Request& request, const agent::PortCard& card
) {
    return services.port_tickets.issue({request.identity, card.cage, card.port.name, card.port.port}
    );
}

asio::awaitable<http::Response> open(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    const auto doc = body_of(request);
    Fields fields(doc, "body");
    const auto agent = fields.optional_string("agent");
    const auto cage = fields.optional_string("cage");
    fields.done();
    co_await services.sessions.last_seq(session);
    const auto whose = cage ? *cage : agent.value_or("");
    const auto card = find_port(services, session, whose, request.params.at(1));
    const auto issued = issue(services, request, card);
    co_return json_answer(
        201,
        {{"url", fmt::format("{}/{}/", kMount, issued.token)}, {"expires_at", issued.expires_at}}
    );
}

/// The link that the page shows: leads to a fresh capability URL.
asio::awaitable<http::Response> lead(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    co_await services.sessions.last_seq(session);
    const auto card = find_port(services, session, request.params.at(1), request.params.at(2));
    const auto issued = issue(services, request, card);
    auto response = http::Response::redirect(fmt::format("{}/{}/", kMount, issued.token));
    response.headers.add("Cache-Control", "no-store");
    co_return response;
}

/// Bytes instead of HTTP, for `volary cage forward`. No browser can ask for it.
asio::awaitable<http::Response> tunnel(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    if (request.peer.kind != http::Peer::Kind::unix_socket)
        throw Error(Errc::denied, "bytes are forwarded over the operator socket only");
    if (!http::has_token(request.headers.find("Upgrade").value_or(""), kBytes)) {
        auto response = http::Response::error(
            426, Errc::invalid, fmt::format("this route upgrades to {} only", kBytes)
        );
        response.headers.add("Upgrade", kBytes);
        co_return response;
    }
    co_await services.sessions.last_seq(session);
    const auto whose =
        request.query_value("cage").value_or(request.query_value("agent").value_or(""));
    const auto card = find_port(services, session, whose, request.params.at(1));
    auto connection = co_await services.agents.connect(card.cage, card.port.port);
    http::Response response;
    response.upstream = std::make_shared<http::Upstream>();
    response.upstream->kind = http::Upstream::Kind::bytes;
    response.upstream->connection = std::move(connection);
    response.upstream->protocol = kBytes;
    co_return response;
}

/// The answer to a preflight (Fetch, 4.8): the page may send what it asks for, to itself.
http::Response allow_preflight(const http::Request& request, const http::Headers& headers) {
    auto response = http::Response::empty(204);
    for (const auto& [asked, answered] :
         {std::pair("Access-Control-Request-Method", "Access-Control-Allow-Methods"),
          std::pair("Access-Control-Request-Headers", "Access-Control-Allow-Headers")}) {
        if (const auto value = request.headers.find(asked)) response.headers.add(answered, *value);
    }
    if (const auto origin = headers.find("Access-Control-Allow-Origin"))
        response.headers.add("Access-Control-Allow-Origin", *origin);
    response.headers.add("Access-Control-Max-Age", "600");
    return response;
}

asio::awaitable<http::Response> visit(const Services& services, http::Request& request) {
    // A worker would outlive the page, and answer for its address.
    if (request.headers.find("Service-Worker"))
        throw Error(Errc::denied, "service workers are refused: a cage's page ends with its cage");
    const auto prefix = fmt::format("{}/{}", kMount, request.params.at(0));
    auto visit = services.port_tickets.use(request.params.at(0));
    if (!visit)
        throw Error(
            Errc::not_found, "this address of a port is over: open the port from its session again"
        );
    const auto query = request.query.empty() ? std::string() : "?" + request.query;
    if (request.params.at(1).empty()) co_return http::Response::redirect(prefix + "/" + query, 308);
    const auto origin = request.headers.find("Origin").value_or("");
    auto headers = access::port_headers(
        request.headers.find("Host").value_or("localhost"), prefix, origin == "null"
    );
    const bool preflight = request.method == "OPTIONS" && !origin.empty() &&
                           request.headers.find("Access-Control-Request-Method");
    if (preflight) co_return allow_preflight(request, headers);
    auto upstream = std::make_shared<http::Upstream>();
    upstream->host = fmt::format("localhost:{}", visit->ticket.port);
    upstream->target = request.params.at(1) + query;
    upstream->prefix = prefix;
    upstream->headers = std::move(headers);
    upstream->hold = std::move(visit->hold);
    try {
        upstream->connection =
            co_await services.agents.connect(visit->ticket.cage, visit->ticket.port);
    } catch (const Error& error) {
        if (error.code() == Errc::not_found) services.port_tickets.revoke(visit->ticket.cage);
        throw;
    }
    http::Response response;
    response.upstream = std::move(upstream);
    co_return response;
}

}  // namespace

void Api::add_port_routes() {
    const std::string base = "/api/v1/sessions/{id}/ports";
    const auto all = [this](http::Request& request) { return list(services_, request); };
    router_.add("GET", base, http::AsyncHandler(all), about("what its live cages publish"));
    const auto mint = [this](http::Request& request) { return open(services_, request); };
    router_.add(
        "POST", base + "/{name}/open", http::AsyncHandler(mint),
        about("an address of a published port, for a browser")
    );
    const auto bytes = [this](http::Request& request) { return tunnel(services_, request); };
    auto upgrade = about("bytes to and from a published port (operator socket only)");
    upgrade.body = http::BodyReading::left;
    router_.add("GET", base + "/{name}/tcp", http::AsyncHandler(bytes), upgrade);
    const auto link = [this](http::Request& request) { return lead(services_, request); };
    router_.add(
        "GET", "/ports/{id}/{cage}/{name}", http::AsyncHandler(link),
        about("leads a browser to a published port")
    );
    http::RouteOptions capability;
    capability.access = http::RouteAccess::capability;
    capability.body = http::BodyReading::left;
    const auto pass = [this](http::Request& request) { return visit(services_, request); };
    router_.mount(kMount, http::AsyncHandler(pass), capability);
}

}  // namespace volary::api
