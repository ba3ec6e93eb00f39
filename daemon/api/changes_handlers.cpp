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

/// What is to become of changes: of those that were looked at, or below some paths (none: all).
struct Wanted {
    std::string agent;
    std::vector<cage::Seen> seen;
    std::vector<std::string> paths;
};

asio::awaitable<cage::Applied> settle(
    SideThread& files, std::vector<agent::LayerFolder> folders, Wanted wanted, Verdict verdict
) {
    auto work = [folders = std::move(folders), wanted = std::move(wanted), verdict] {
        std::vector<std::string> places;
        for (const auto& folder : folders) places.push_back(folder.path);
        return verdict == Verdict::kept ? cage::keep_changes(places, wanted.seen)
                                        : cage::drop_changes(places, wanted.paths);
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
             {"digest", change.digest},
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

/// As many as a list of changes has.
constexpr std::size_t kMaxSettled = cage::kMaxChanges;
/// Room for them: a path, a digest of 40 and what JSON needs.
constexpr std::size_t kMaxBody = std::size_t{4} << 20U;

Wanted read_dropped(const Json& doc) {
    Fields fields(doc, "body");
    Wanted out{fields.string("agent"), {}, {}};
    const auto* paths = fields.optional_value("paths");
    const bool all = paths == nullptr || paths->is_null();
    if (!all && (!paths->is_array() || paths->empty() || paths->size() > kMaxSettled))
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

Wanted read_kept(const Json& doc) {
    Fields fields(doc, "body");
    Wanted out{fields.string("agent"), {}, {}};
    const auto* seen = fields.optional_value("seen");
    if (seen == nullptr || !seen->is_array() || seen->empty() || seen->size() > kMaxSettled)
        fields.problem(
            "seen", "must be a list of 1 to 5000 changes, {\"path\",\"digest\"} as they were listed"
        );
    fields.done();
    for (const auto& each : *seen) {
        Fields one(each, "body.seen");
        out.seen.push_back({one.string("path"), one.string("digest")});
        one.done();
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
    const auto body = body_of(request);
    auto wanted = verdict == Verdict::kept ? read_kept(body) : read_dropped(body);
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
    const auto agent = wanted.agent;
    auto applied = co_await settle(services.files, std::move(folders), std::move(wanted), verdict);
    session::SettleChanges command{verdict, agent, applied.count, std::move(applied.refused)};
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
    auto keeping = about("apply changes to the host");
    keeping.max_body = kMaxBody;
    router_.add("POST", at + "/keep", http::AsyncHandler(keep), std::move(keeping));
    const auto drop = [this](http::Request& request) {
        return decide_on(services_, request, Verdict::dropped);
    };
    auto dropping = about("forget changes");
    dropping.max_body = kMaxBody;
    router_.add("POST", at + "/drop", http::AsyncHandler(drop), std::move(dropping));
}

}  // namespace volary::api
