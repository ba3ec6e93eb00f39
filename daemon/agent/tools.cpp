// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/tools.hpp"

#include "daemon/agent/mcp.hpp"
#include "dsl/project.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::agent {
namespace {

Json object_schema(Json properties, Json required) {
    return {
        {"type", "object"},
        {"properties", std::move(properties)},
        {"required", std::move(required)},
        {"additionalProperties", false}
    };
}

Json string_of(std::string_view about) { return {{"type", "string"}, {"description", about}}; }

Json plan_tool() {
    const Json statuses = {"pending", "in_progress", "completed"};
    const Json status = {{"type", "string"}, {"enum", statuses}};
    const Json entry = object_schema(
        {{"id", string_of("keep the id of an entry that you change")},
         {"text", string_of("what will be done, one line")},
         {"status", status}},
        {"text"}
    );
    return {
        {"name", "plan_update"},
        {"title", "Update the plan"},
        {"description",
         "Publishes your plan to the operator; replaces the one before. The "
         "operator may edit entries while the run is held."},
        {"inputSchema",
         object_schema({{"entries", {{"type", "array"}, {"items", entry}}}}, {"entries"})},
    };
}

Json invoke_tool(const dsl::Agent& agent) {
    std::string about =
        "Starts one of your subagents in its own cage and returns its invocation "
        "at once. Subagents:";
    Json names = Json::array();
    for (const auto& child : agent.subagents) {
        names.push_back(child.name);
        about += fmt::format("\n- {}: {}", child.name, child.description);
    }
    const Json name = {{"type", "string"}, {"enum", names}};
    return {
        {"name", "subagent_invoke"},
        {"title", "Start a subagent"},
        {"description", about},
        {"inputSchema",
         object_schema(
             {{"agent", name}, {"task", string_of("what it is to do, complete in itself")}},
             {"agent", "task"}
         )},
    };
}

Json result_tool() {
    const Json wait = {{"type", "integer"}, {"minimum", 0}, {"description", "600 unless told"}};
    return {
        {"name", "subagent_result"},
        {"title", "Wait for a subagent"},
        {"description", "Waits until an invocation has finished and returns its outcome and result."
        },
        {"inputSchema",
         object_schema(
             {{"invocation", string_of("what subagent_invoke returned")}, {"wait_seconds", wait}},
             {"invocation"}
         )},
    };
}

Json signal_tool(const dsl::Agent& agent) {
    const Json name = {{"type", "string"}, {"enum", agent.signals}};
    return {
        {"name", "signal_emit"},
        {"title", "Emit a signal"},
        {"description",
         "Tells the project that something has happened. Rules of the project may "
         "start other agents on it."},
        {"inputSchema",
         object_schema(
             {{"signal", name}, {"data", {{"type", "object"}, {"description", "facts"}}}},
             {"signal"}
         )},
    };
}

}  // namespace

Json tools_for(const dsl::Agent& agent) {
    Json all = Json::array();
    if (agent.path == "primary") all.push_back(plan_tool());
    if (!agent.subagents.empty()) {
        all.push_back(invoke_tool(agent));
        all.push_back(result_tool());
    }
    if (!agent.signals.empty()) all.push_back(signal_tool(agent));
    Json out = Json::array();
    for (auto& tool : all) {
        const auto name = string_or(tool, "name");
        if (!is_tool_enabled(agent, name)) continue;
        const auto rule = agent.tools.find(name);
        if (rule != agent.tools.end() && !rule->second.description.empty())
            tool["description"] = rule->second.description;
        out.push_back(std::move(tool));
    }
    return out;
}

bool has_tool(const dsl::Agent& agent, std::string_view name) {
    const auto tools = tools_for(agent);
    return std::any_of(tools.begin(), tools.end(), [&](const Json& tool) {
        return string_or(tool, "name") == name;
    });
}

}  // namespace volary::agent
