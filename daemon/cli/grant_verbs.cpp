// SPDX-License-Identifier: Apache-2.0
#include "base/clock.hpp"
#include "base/error.hpp"
#include "daemon/cli/verbs.hpp"

#include <iostream>
#include <map>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

// ---- volary cage log --------------------------------------------------------------------

/// One line of the log: what happened to which agent, and the words for it.
struct Entry {
    std::string agent;
    Json json;
    std::string words;
};

std::string denied_words(const Json& body) {
    auto out = fmt::format("denied  {} {}", string_or(body, "layer"), string_or(body, "what"));
    const auto count = body.value("count", std::int64_t{1});
    if (count > 1) out += fmt::format(" ({} times)", count);
    const auto process = string_or(body, "process");
    if (!process.empty()) out += " by " + process;
    const auto rule = string_or(body, "rule");
    return rule.empty() ? out : out + "; would be allowed by " + rule;
}

std::string words_of(const std::string& kind, const Json& body) {
    if (kind == "cage.denied") return denied_words(body);
    if (kind == "cage.limit")
        return fmt::format("limit   {}: {}", string_or(body, "limit"), string_or(body, "detail"));
    if (kind == "cage.granted")
        return fmt::format(
            "granted {} ({}, {}) by {}", string_or(body, "rule"), string_or(body, "scope"),
            string_or(body, "applied") == "live" ? "live" : "at the next start",
            string_or(body, "by")
        );
    if (kind == "cage.grant_failed")
        return fmt::format(
            "grant not applied{}: {}",
            string_or(body, "applied") == "next_start" ? " before the next start" : "",
            string_or(body, "reason")
        );
    const auto paths = body.value("paths", std::int64_t{0});
    if (kind == "cage.changes_kept") return fmt::format("changes of {} paths kept", paths);
    if (kind == "cage.changes_dropped") return fmt::format("changes of {} paths dropped", paths);
    return {};
}

std::string connection_words(const Json& row) {
    return fmt::format(
        "{:<7} {}:{} up {} down {} bytes, {} ms",
        string_or(row, "verdict") == "allowed" ? "reached" : string_or(row, "verdict"),
        string_or(row, "name"), row.value("port", 0), row.value("bytes_up", std::int64_t{0}),
        row.value("bytes_down", std::int64_t{0}), row.value("duration_ms", std::int64_t{0})
    );
}

/// Collects the entries of a session; knows which agent a cage and an invocation belong to.
class CageLog {
public:
    void take_event(const Json& event) {
        const auto kind = string_or(event, "kind");
        const auto& body = event.at("body");
        if (kind == "invocation.started") agents_[string_or(body, "id")] = string_or(body, "agent");
        if (kind == "cage.started")
            agents_[string_or(body, "cage")] = agents_[string_or(body, "invocation")];
        auto words = words_of(kind, body);
        if (words.empty()) return;
        auto agent = string_or(body, "agent", agents_[string_or(body, "cage")]);
        if (agent.empty()) agent = granted_[body.value("granted", std::int64_t{0})];
        if (kind == "cage.granted") granted_[event.at("seq")] = agent;
        Json json = {
            {"at_ms", event.at("at")}, {"agent", agent}, {"kind", kind.substr(5)}, {"body", body}
        };
        entries_.emplace(event.at("at"), Entry{agent, std::move(json), std::move(words)});
    }

    void take_connection(const Json& row) {
        const auto agent = agents_[string_or(row, "cage")];
        Json json = {
            {"at_ms", row.at("at_ms")}, {"agent", agent}, {"kind", "connection"}, {"body", row}
        };
        entries_.emplace(row.at("at_ms"), Entry{agent, std::move(json), connection_words(row)});
    }

    void print(const Context& context, const std::string& agent) {
        if (!agent.empty())
            std::erase_if(entries_, [&](const auto& entry) { return entry.second.agent != agent; });
        if (context.json) {
            Json out = Json::array();
            for (auto& [at, entry] : entries_) out.push_back(std::move(entry.json));
            print_json({{"entries", std::move(out)}});
            return;
        }
        if (entries_.empty()) print_line("nothing was denied, granted or connected to");
        for (const auto& [at, entry] : entries_) {
            const auto time = format_rfc3339(at).substr(11, 8);
            const auto line = fmt::format("{} {:<20} {}", time, entry.agent, entry.words);
            print_line(revealed_line(line));
        }
    }

private:
    std::map<std::string, std::string> agents_;    ///< by cage and by invocation
    std::map<std::int64_t, std::string> granted_;  ///< by log position
    std::multimap<std::int64_t, Entry> entries_;   ///< by time, then as they came
};

asio::awaitable<int> do_log(
    asio::any_io_executor executor, const Context& context, const CageLogOptions& options
) {
    Client client(executor, context);
    CageLog log;
    std::int64_t after = 0;
    while (true) {
        const auto page = co_await client.get(
            fmt::format("{}/events?limit=1000&after={}", session_path(options.session), after)
        );
        for (const auto& event : page.at("events")) log.take_event(event);
        if (page.at("events").empty()) break;
        after = page.at("events").back().at("seq");
    }
    const auto network =
        co_await client.get(session_path(options.session) + "/network?limit=10000");
    for (const auto& row : network.at("connections")) log.take_connection(row);
    log.print(context, options.agent);
    co_return 0;
}

// ---- volary cage grant ------------------------------------------------------------------

/// "project:/data", "project:/data:rw", "/workspace/data rw" are folders; all else is a host.
Json rule_of(const std::string& rule) {
    if (!rule.starts_with("project:/") && !rule.starts_with("/")) return {{"net", rule}};
    std::string path = rule;
    std::string mode = "ro";
    for (const auto* end : {":ro", ":rw", " ro", " rw"}) {
        if (!rule.ends_with(end)) continue;
        path = rule.substr(0, rule.size() - 3);
        mode = end + 1;
    }
    const Json folder = {{"path", path}, {"mode", mode}};
    return {{"fs", folder}};
}

/// Asks on the terminal; a script says --yes.
void confirm(const std::string& file) {
    if (::isatty(STDIN_FILENO) == 0)
        throw Error(Errc::denied, "nobody is there to look at the change: confirm it with --yes");
    fmt::print("write this to {}? [y/N] ", revealed_line(file));
    std::fflush(stdout);
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "Y" && answer != "yes")
        throw Error(Errc::denied, "nothing was changed");
}

void print_granted(const Json& answer) {
    const bool live = string_or(answer, "applied") == "live";
    print_line(fmt::format(
        "granted {}, {}", string_or(answer, "rule"),
        live ? "now" : "for the next cage of that agent"
    ));
    const auto reason = string_or(answer, "reason");
    if (!reason.empty()) print_line("  " + reason);
}

asio::awaitable<int> do_grant(
    asio::any_io_executor executor, const Context& context, const GrantOptions& options
) {
    Client client(executor, context);
    auto body = rule_of(options.rule);
    body["agent"] = options.agent;
    body["scope"] = options.scope;
    if (!options.cage.empty()) body["cage"] = options.cage;
    if (options.allow_private) body["private"] = true;
    const auto path = session_path(options.session) + "/grants";
    auto answer = co_await client.act("POST", path, body);
    if (answer.contains("diff")) {
        if (!context.json || !options.yes) print_line(revealed(string_or(answer, "diff")));
        if (!options.yes) confirm(string_or(answer, "file"));
        body["confirm"] = answer.at("hash");
        answer = co_await client.act("POST", path, body);
    }
    if (context.json)
        print_json(answer);
    else
        print_granted(answer);
    co_return 0;
}

}  // namespace

int cage_log(const Context& context, const CageLogOptions& options) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_log(std::move(executor), context, options);
    };
    return run(verb);
}

int cage_grant(const Context& context, const GrantOptions& options) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_grant(std::move(executor), context, options);
    };
    return run(verb);
}

}  // namespace volary::cli
