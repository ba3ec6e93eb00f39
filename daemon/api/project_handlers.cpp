// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/session/projects.hpp"
#include "daemon/store/store.hpp"
#include "dsl/load.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

Json agent_json(const dsl::Agent& agent) {
    Json children = Json::array();
    for (const auto& child : agent.subagents) children.push_back(agent_json(child));
    return {
        {"path", agent.path},
        {"name", agent.name},
        {"description", agent.description},
        {"runner", dsl::to_string(agent.runner.kind)},
        {"model", agent.model},
        {"cage", Json::parse(dsl::cage_words_json(agent.cage))},
        {"signals", agent.signals},
        {"subagents", std::move(children)}
    };
}

Json project_json(const session::ProjectEntry& entry) {
    Json diagnostics = Json::array();
    for (const auto& diagnostic : entry.diagnostics) diagnostics.push_back(diagnostic.text());
    Json agents = Json::array();
    Json rules = Json::array();
    if (entry.project) {
        agents.push_back(agent_json(entry.project->primary));
        for (const auto& rule : entry.project->interconnect)
            rules.push_back({{"on", rule.on}, {"from", rule.from}, {"invoke", rule.invoke}});
    }
    return {
        {"name", entry.name},
        {"description", entry.project ? entry.project->description : ""},
        {"path", entry.path},
        {"valid", entry.diagnostics.empty() && entry.project != nullptr},
        {"diagnostics", std::move(diagnostics)},
        {"agents", std::move(agents)},
        {"interconnect", std::move(rules)}
    };
}

asio::awaitable<http::Response> list(const Services& services) {
    Json projects = Json::array();
    const auto entries = services.projects.list();
    for (const auto& entry : entries) {
        store::SessionFilter filter{entry.name, 1, 0};
        const auto page = co_await services.store.sessions(std::move(filter));
        const auto active = co_await services.sessions.active_session(entry.name);
        auto row = project_json(entry);
        row.erase("agents");
        row.erase("interconnect");
        row.erase("diagnostics");
        row["sessions"] = page.total;
        row["active_session"] = active ? Json(active->str()) : Json(nullptr);
        projects.push_back(std::move(row));
    }
    co_return json_answer(200, {{"projects", std::move(projects)}});
}

asio::awaitable<http::Response> add(const Services& services, http::Request& request) {
    const auto doc = body_of(request);
    Fields fields(doc, "body");
    auto path = fields.string("path");
    fields.done();
    const auto entry = co_await services.projects.add(std::move(path));
    co_return json_answer(201, project_json(entry));
}

http::Response show(const Services& services, const http::Request& request) {
    const auto* entry = services.projects.refresh(request.params.at(0));
    if (entry == nullptr)
        throw Error(Errc::not_found, fmt::format("no project \"{}\"", request.params.at(0)));
    return json_answer(200, project_json(*entry));
}

asio::awaitable<http::Response> post_message(const Services& services, http::Request& request) {
    auto mutation = mutation_of(request);
    const auto doc = body_of(request);
    Fields fields(doc, "body");
    session::PostMessage message{fields.string("text"), client_of(request)};
    auto session = fields.optional_string("session").value_or("");
    if (!session.empty() && session != "new" && !is_id(session, SessionTag::prefix))
        fields.problem("session", "must be a session id or \"new\"");
    fields.done();
    const auto answer = co_await services.sessions.post(
        request.params.at(0), std::move(session), std::move(message), std::move(mutation)
    );
    co_return accepted(
        {{"session", answer.session.str()},
         {"run", answer.run.str()},
         {"message", answer.message.str()},
         {"seq", answer.seq}}
    );
}

}  // namespace

void Api::add_project_routes() {
    const auto about = [](std::string summary) {
        http::RouteOptions options;
        options.summary = std::move(summary);
        return options;
    };
    const auto all = [this](http::Request&) { return list(services_); };
    router_.add("GET", "/api/v1/projects", http::AsyncHandler(all), about("every project"));
    const auto put = [this](http::Request& request) { return add(services_, request); };
    router_.add("POST", "/api/v1/projects", http::AsyncHandler(put), about("add a folder"));
    const auto one = [this](http::Request& request) { return show(services_, request); };
    router_.add(
        "GET", "/api/v1/projects/{name}", http::SyncHandler(one),
        about("one project and its agents")
    );
    const auto post = [this](http::Request& request) { return post_message(services_, request); };
    router_.add(
        "POST", "/api/v1/projects/{name}/messages", http::AsyncHandler(post),
        about("send a message; it is durable when this is answered")
    );
}

}  // namespace volary::api
