// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "base/side_thread.hpp"
#include "cage/changes.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/session/projects.hpp"
#include "daemon/store/store.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

using Verdict = session::SettleChanges::Verdict;

struct Found {
    std::string agent;
    cage::Change change;
};

/// The folders of one agent, or of all when `agent` is empty.
std::vector<agent::LayerFolder> folders_of(
    const Services& services, const session::State& state, const std::string& agent
) {
    const auto* entry = services.projects.find(state.project);
    if (entry == nullptr || !entry->project)
        throw Error(
            Errc::conflict,
            fmt::format("the project \"{}\" cannot be read: see volary project show", state.project)
        );
    auto out = services.agents.layers(state.id, *entry->project);
    if (!agent.empty())
        std::erase_if(out, [&](const agent::LayerFolder& folder) { return folder.agent != agent; });
    return out;
}

// Not coroutines on purpose (style C4): the lambdas stay out of any co_await expression.

asio::awaitable<std::vector<Found>> find_changes(
    SideThread& files, std::vector<agent::LayerFolder> folders
) {
    auto work = [folders = std::move(folders)] {
        std::vector<Found> out;
        for (const auto& folder : folders) {
            for (auto& change : cage::list_changes(folder.path))
                out.push_back({folder.agent, std::move(change)});
        }
        return out;
    };
    return files.run(std::move(work));
}

asio::awaitable<std::string> diff_of(SideThread& files, cage::Change change) {
    auto work = [change = std::move(change)] { return cage::diff_of(change); };
    return files.run(std::move(work));
}

asio::awaitable<cage::Applied> settle(
    SideThread& files, std::vector<agent::LayerFolder> folders, std::vector<std::string> paths,
    Verdict verdict
) {
    auto work = [folders = std::move(folders), paths = std::move(paths), verdict] {
        cage::Applied all;
        for (const auto& folder : folders) {
            const auto done = verdict == Verdict::kept ? cage::keep_changes(folder.path, paths)
                                                       : cage::drop_changes(folder.path, paths);
            all.count += done.count;
            all.refused.insert(all.refused.end(), done.refused.begin(), done.refused.end());
        }
        return all;
    };
    return files.run(std::move(work));
}

asio::awaitable<http::Response> list(const Services& services, http::Request& request) {
    const auto state = co_await services.sessions.state(session_of(request));
    auto folders = folders_of(services, state, request.query_value("agent").value_or(""));
    const auto found = co_await find_changes(services.files, std::move(folders));
    Json out = Json::array();
    for (const auto& [agent, change] : found)
        out.push_back(
            {{"agent", agent},
             {"path", change.path},
             {"kind", cage::to_string(change.kind)},
             {"bytes", change.bytes},
             {"binary", change.binary},
             {"refused", change.refused}}
        );
    co_return json_answer(200, {{"changes", std::move(out)}});
}

asio::awaitable<http::Response> diff(const Services& services, http::Request& request) {
    const auto state = co_await services.sessions.state(session_of(request));
    const auto agent = request.query_value("agent").value_or("");
    const auto path = request.query_value("path").value_or("");
    if (agent.empty() || path.empty()) throw Error(Errc::invalid, "query: needs agent and path");
    auto folders = folders_of(services, state, agent);
    const auto found = co_await find_changes(services.files, std::move(folders));
    const auto is = [&](const Found& one) { return one.change.path == path; };
    const auto change = std::find_if(found.begin(), found.end(), is);
    if (change == found.end())
        throw Error(Errc::not_found, fmt::format("{} has not changed \"{}\"", agent, path));
    auto text = co_await diff_of(services.files, change->change);
    co_return http::Response::text(200, std::move(text));
}

struct Wanted {
    std::string agent;
    std::vector<std::string> paths;
};

Wanted read_wanted(const Json& doc) {
    constexpr std::size_t kMaxPaths = 5000;  // as many as a list of changes has
    Fields fields(doc, "body");
    Wanted out{fields.string("agent"), {}};
    const auto* paths = fields.optional_value("paths");
    const bool all = paths == nullptr || paths->is_null();
    if (!all && (!paths->is_array() || paths->empty() || paths->size() > kMaxPaths))
        fields.problem("paths", "must be a list of 1 to 5000 paths, or null for all");
    fields.done();
    if (all) return out;
    for (const auto& path : *paths) {
        if (!path.is_string() || path.get<std::string>().empty())
            throw Error(Errc::invalid, "body.paths: must be a list of paths");
        out.paths.push_back(path.get<std::string>());
    }
    return out;
}

/// From the event, so that the same key gets the same answer.
asio::awaitable<http::Response> answer(const Services& services, session::Answer done) {
    const auto events = co_await services.store.events(done.session, done.seq - 1, 1);
    if (events.empty()) throw Error(Errc::internal, "an event that was taken is not there");
    const auto body = Json::parse(events.front().body);
    co_return accepted(
        {{"seq", done.seq}, {"count", body.at("paths")}, {"refused", body.at("refused")}}
    );
}

asio::awaitable<http::Response> decide_on(
    const Services& services, http::Request& request, Verdict verdict
) {
    auto mutation = mutation_of(request);
    auto wanted = read_wanted(body_of(request));
    const auto session = session_of(request);
    const auto before = co_await services.sessions.answered_before(mutation);
    if (before) {
        auto again = co_await answer(services, *before);
        co_return again;
    }
    const auto state = co_await services.sessions.state(session);
    auto folders = folders_of(services, state, wanted.agent);
    if (folders.empty())
        throw Error(Errc::not_found, fmt::format("{} has changed nothing", wanted.agent));
    auto applied =
        co_await settle(services.files, std::move(folders), std::move(wanted.paths), verdict);
    session::SettleChanges command{
        verdict, std::move(wanted.agent), applied.count, std::move(applied.refused)
    };
    const auto done =
        co_await services.sessions.operate(session, std::move(command), std::move(mutation));
    auto out = co_await answer(services, done);
    co_return out;
}

}  // namespace

void Api::add_changes_routes() {
    const std::string at = "/api/v1/sessions/{id}/changes";
    const auto all = [this](http::Request& request) { return list(services_, request); };
    router_.add("GET", at, http::AsyncHandler(all), about("what agents changed in cow folders"));
    const auto one = [this](http::Request& request) { return diff(services_, request); };
    router_.add("GET", at + "/diff", http::AsyncHandler(one), about("one change as a diff"));
    const auto keep = [this](http::Request& request) {
        return decide_on(services_, request, Verdict::kept);
    };
    router_.add("POST", at + "/keep", http::AsyncHandler(keep), about("apply changes to the host"));
    const auto drop = [this](http::Request& request) {
        return decide_on(services_, request, Verdict::dropped);
    };
    router_.add("POST", at + "/drop", http::AsyncHandler(drop), about("forget changes"));
}

}  // namespace volary::api
