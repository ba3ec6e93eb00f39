// SPDX-License-Identifier: Apache-2.0
#include "daemon/cli/verbs.hpp"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

void print_agent(const Json& agent, int depth) {
    const auto& cage = agent.at("cage");
    std::vector<std::string> hosts;
    for (const auto& host : cage.value("hosts", Json::array())) hosts.push_back(host);
    print_line(fmt::format(
        "{:{}}{} ({}) network: {}{}", "", depth * 2, string_or(agent, "name"),
        string_or(agent, "runner"),
        hosts.empty() ? "none" : fmt::format("{}", fmt::join(hosts, ", ")),
        cage.value("disabled", false) ? "  NO CAGE" : ""
    ));
    for (const auto& child : agent.at("subagents")) print_agent(child, depth + 1);
}

void print_project(const Json& project) {
    print_line(fmt::format(
        "{}  {}  {}", string_or(project, "name"),
        project.value("valid", false) ? "valid" : "invalid", string_or(project, "path")
    ));
    for (const auto& problem : project.value("diagnostics", Json::array()))
        print_line("  " + problem.get<std::string>());
    for (const auto& agent : project.value("agents", Json::array())) print_agent(agent, 1);
}

asio::awaitable<int> do_add(
    asio::any_io_executor executor, const Context& context, const std::string& path
) {
    Client client(executor, context);
    // The daemon has another working folder than the one who types.
    const auto absolute = std::filesystem::absolute(path).lexically_normal().string();
    const auto answer = co_await client.act("POST", "/api/v1/projects", {{"path", absolute}});
    if (context.json)
        print_json(answer);
    else
        print_project(answer);
    co_return 0;
}

asio::awaitable<int> do_list(asio::any_io_executor executor, const Context& context) {
    Client client(executor, context);
    const auto answer = co_await client.get("/api/v1/projects");
    if (context.json) {
        print_json(answer);
        co_return 0;
    }
    if (answer.at("projects").empty()) print_line("no projects yet: volary project add FOLDER");
    for (const auto& project : answer.at("projects"))
        print_line(fmt::format(
            "{:<24} {:<8} {:>4} sessions  {}", string_or(project, "name"),
            project.value("valid", false) ? "valid" : "invalid", project.value("sessions", 0),
            string_or(project, "path")
        ));
    co_return 0;
}

asio::awaitable<int> do_show(
    asio::any_io_executor executor, const Context& context, const std::string& name
) {
    Client client(executor, context);
    const auto answer = co_await client.get("/api/v1/projects/" + path_segment(name));
    if (context.json)
        print_json(answer);
    else
        print_project(answer);
    co_return 0;
}

asio::awaitable<int> do_status(asio::any_io_executor executor, const Context& context) {
    Client client(executor, context);
    const auto answer = co_await client.get("/api/v1/status");
    if (context.json) {
        print_json(answer);
        co_return 0;
    }
    print_line(fmt::format(
        "volary {} up {} s: {} projects, {} sessions, {} working, {} cages, {:.1f} MB",
        string_or(answer, "version"), answer.value("uptime_ms", std::int64_t{0}) / 1000,
        answer.value("projects", 0), answer.value("sessions", 0), answer.value("working", 0),
        answer.value("cages", 0), static_cast<double>(answer.value("rss_bytes", 0)) / 1e6
    ));
    co_return 0;
}

asio::awaitable<int> do_launch(asio::any_io_executor executor, const Context& context) {
    Client client(executor, context);
    const auto answer = co_await client.act("POST", "/api/v1/auth/launch-codes", Json::object());
    if (context.json)
        print_json(answer);
    else
        print_line(string_or(answer, "url"));
    co_return 0;
}

}  // namespace

int project_add(const Context& context, const std::string& path) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_add(std::move(executor), context, path);
    };
    return run(verb);
}

int project_list(const Context& context) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_list(std::move(executor), context);
    };
    return run(verb);
}

int project_show(const Context& context, const std::string& name) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_show(std::move(executor), context, name);
    };
    return run(verb);
}

int status(const Context& context) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_status(std::move(executor), context);
    };
    return run(verb);
}

int auth_launch_url(const Context& context) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_launch(std::move(executor), context);
    };
    return run(verb);
}

}  // namespace volary::cli
