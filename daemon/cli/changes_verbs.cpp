// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/cli/verbs.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

std::string changes_path(const std::string& session) {
    return "/api/v1/sessions/" + path_segment(session) + "/changes";
}

std::string of_agent(const std::string& agent) {
    return agent.empty() ? std::string() : "?agent=" + path_segment(agent);
}

std::string change_line(const Json& change) {
    const auto refused = string_or(change, "refused");
    return revealed_line(fmt::format(
        "{:<8} {:<20} {} ({} bytes){}", string_or(change, "kind"), string_or(change, "agent"),
        string_or(change, "path"), change.value("bytes", std::int64_t{0}),
        refused.empty() ? "" : "  cannot be kept: " + refused
    ));
}

void print_changes(const Json& answer) {
    const auto& changes = answer.at("changes");
    if (changes.empty()) print_line("no changes wait: nothing was changed in a cow folder");
    for (const auto& change : changes) print_line(change_line(change));
}

/// The diffs of the paths, one request each.
asio::awaitable<int> do_diff(
    asio::any_io_executor executor, const Context& context, const ChangesOptions& options
) {
    Client client(executor, context);
    for (const auto& path : options.paths) {
        auto target = fmt::format(
            "{}/diff?agent={}&path={}", changes_path(options.session), path_segment(options.agent),
            path_segment(path)
        );
        const auto text = co_await client.text(std::move(target));
        print_line(revealed(text));
    }
    co_return 0;
}

bool is_meant(const std::string& path, const std::vector<std::string>& wanted) {
    if (wanted.empty()) return true;
    return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& each) {
        return path == each || path.starts_with(each.ends_with('/') ? each : each + "/");
    });
}

/// What the options mean, by agent, of what is there now.
std::map<std::string, Json> changes_meant(const Json& answer, const ChangesOptions& options) {
    std::map<std::string, Json> out;
    for (const auto& change : answer.at("changes")) {
        if (!is_meant(string_or(change, "path"), options.paths)) continue;
        auto& list = out.try_emplace(string_or(change, "agent"), Json::array()).first->second;
        list.push_back(change);
    }
    return out;
}

/// Of what is kept each change is printed, and sent as it was printed: the daemon refuses it when
/// it has become another meanwhile.
Json settle_body(
    const Context& context, const std::string& verb, const std::string& agent, const Json& changes,
    const ChangesOptions& options
) {
    Json body = {{"agent", agent}};
    if (verb == "drop") {
        body["paths"] = options.paths.empty() ? Json(nullptr) : Json(options.paths);
        return body;
    }
    body["seen"] = Json::array();
    for (const auto& change : changes) {
        if (!context.json) print_line(change_line(change));
        body["seen"].push_back(
            {{"path", string_or(change, "path")}, {"digest", string_or(change, "digest")}}
        );
    }
    return body;
}

void print_settled(const std::string& agent, const Json& answer, const std::string& verb) {
    print_line(fmt::format(
        "{}: {} changes {}", agent, answer.value("count", std::int64_t{0}),
        verb == "keep" ? "kept" : "dropped"
    ));
    for (const auto& line : answer.at("refused"))
        print_line(revealed_line("  refused: " + line.get<std::string>()));
}

asio::awaitable<int> do_settle(
    asio::any_io_executor executor, const Context& context, const ChangesOptions& options,
    std::string verb
) {
    Client client(executor, context);
    const auto at = changes_path(options.session);
    const auto listed = co_await client.get(at + of_agent(options.agent));
    const auto meant = changes_meant(listed, options);
    Json answers = Json::array();
    bool refused = false;
    for (const auto& [agent, changes] : meant) {
        auto body = settle_body(context, verb, agent, changes, options);
        auto answer = co_await client.act("POST", at + "/" + verb, std::move(body));
        refused = refused || !answer.at("refused").empty();
        if (!context.json) print_settled(agent, answer, verb);
        answer["agent"] = agent;
        if (verb == "keep") answer["changes"] = changes;
        answers.push_back(std::move(answer));
    }
    if (context.json)
        print_json({{"answers", std::move(answers)}});
    else if (meant.empty())
        print_line("no changes wait");
    co_return refused ? exit_code(Errc::denied) : 0;
}

}  // namespace

int cage_changes(const Context& context, const ChangesOptions& options) {
    if (options.paths.empty())
        return show(
            context, changes_path(options.session) + of_agent(options.agent), print_changes
        );
    const auto verb = [&](asio::any_io_executor executor) {
        return do_diff(std::move(executor), context, options);
    };
    return run(verb);
}

int cage_settle(const Context& context, const ChangesOptions& options, const std::string& verb) {
    const auto call = [&](asio::any_io_executor executor) {
        return do_settle(std::move(executor), context, options, verb);
    };
    return run(call);
}

}  // namespace volary::cli
