// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "daemon/cli/verbs.hpp"

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

void print_changes(const Json& answer) {
    const auto& changes = answer.at("changes");
    if (changes.empty()) print_line("no changes wait: nothing was changed in a cow folder");
    for (const auto& change : changes) {
        const auto refused = string_or(change, "refused");
        print_line(revealed_line(fmt::format(
            "{:<8} {:<20} {} ({} bytes){}", string_or(change, "kind"), string_or(change, "agent"),
            string_or(change, "path"), change.value("bytes", std::int64_t{0}),
            refused.empty() ? "" : "  cannot be kept: " + refused
        )));
    }
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

/// The agents whose changes are meant: the one that was named, or all that have some.
asio::awaitable<std::vector<std::string>> agents_meant(
    Client& client, const ChangesOptions& options
) {
    std::vector<std::string> out;
    if (!options.agent.empty()) {
        out.push_back(options.agent);
        co_return out;
    }
    const auto answer = co_await client.get(changes_path(options.session));
    for (const auto& change : answer.at("changes")) {
        auto agent = string_or(change, "agent");
        if (out.empty() || out.back() != agent) out.push_back(std::move(agent));
    }
    co_return out;
}

asio::awaitable<int> do_settle(
    asio::any_io_executor executor, const Context& context, const ChangesOptions& options,
    std::string verb
) {
    Client client(executor, context);
    const auto agents = co_await agents_meant(client, options);
    Json answers = Json::array();
    bool refused = false;
    for (const auto& agent : agents) {
        Json body = {{"agent", agent}, {"paths", nullptr}};
        if (!options.paths.empty()) body["paths"] = options.paths;
        auto answer = co_await client.act(
            "POST", changes_path(options.session) + "/" + verb, std::move(body)
        );
        refused = refused || !answer.at("refused").empty();
        if (!context.json) {
            print_line(fmt::format(
                "{}: {} changes {}", agent, answer.value("count", std::int64_t{0}),
                verb == "keep" ? "kept" : "dropped"
            ));
            for (const auto& line : answer.at("refused"))
                print_line(revealed_line("  refused: " + line.get<std::string>()));
        }
        answer["agent"] = agent;
        answers.push_back(std::move(answer));
    }
    if (context.json)
        print_json({{"answers", std::move(answers)}});
    else if (agents.empty())
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
