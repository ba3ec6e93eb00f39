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

void print_projects(const Json& answer) {
    if (answer.at("projects").empty()) print_line("no projects yet: volary project add FOLDER");
    for (const auto& project : answer.at("projects"))
        print_line(fmt::format(
            "{:<24} {:<8} {:>4} sessions  {}", string_or(project, "name"),
            project.value("valid", false) ? "valid" : "invalid", project.value("sessions", 0),
            string_or(project, "path")
        ));
}

void print_status(const Json& answer) {
    print_line(fmt::format(
        "volary {} up {} s: {} projects, {} sessions, {} working, {} cages, {:.1f} MB",
        string_or(answer, "version"), answer.value("uptime_ms", std::int64_t{0}) / 1000,
        answer.value("projects", 0), answer.value("sessions", 0), answer.value("working", 0),
        answer.value("cages", 0), static_cast<double>(answer.value("rss_bytes", 0)) / 1e6
    ));
    for (const auto& problem : answer.at("database").at("problems"))
        print_line("DAMAGED DATABASE: " + problem.get<std::string>());
}

void print_url(const Json& answer) { print_line(string_or(answer, "url")); }

}  // namespace

int project_add(const Context& context, const std::string& path) {
    // The daemon has another working folder than the one who types.
    const auto absolute = std::filesystem::absolute(path).lexically_normal().string();
    return act(context, "POST", "/api/v1/projects", {{"path", absolute}}, print_project);
}

int project_list(const Context& context) {
    return show(context, "/api/v1/projects", print_projects);
}

int project_show(const Context& context, const std::string& name) {
    return show(context, "/api/v1/projects/" + path_segment(name), print_project);
}

int status(const Context& context) { return show(context, "/api/v1/status", print_status); }

int auth_launch_url(const Context& context) {
    return act(context, "POST", "/api/v1/auth/launch-codes", Json::object(), print_url);
}

}  // namespace volary::cli
