// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/types.hpp"

#include "base/error.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::acp;

TEST_CASE("an agent's capabilities survive the wire", "[acp]") {
    AgentInfo agent;
    agent.name = "volary-agent";
    agent.version = "1.2";
    agent.load_session = agent.mcp_http = agent.steps = true;
    const auto back = parse_initialize_result(make_initialize_result(agent));
    CHECK(back.name == "volary-agent");
    CHECK(back.version == "1.2");
    CHECK(back.load_session);
    CHECK(back.mcp_http);
    CHECK(back.steps);

    const auto plain = parse_initialize_result(Json{{"protocolVersion", 1}});
    CHECK_FALSE(plain.load_session);
    CHECK_FALSE(plain.steps);
    CHECK_THROWS_AS(parse_initialize_result(Json::array()), Error);
    CHECK(make_initialize("volary", "0.1")["protocolVersion"] == 1);
}

TEST_CASE("a session's setup survives the wire", "[acp]") {
    SessionSetup setup;
    setup.session_id = "agent_1";
    setup.cwd = "/workspace";
    setup.mcp_servers = {{"volary", "http://volary.internal/mcp", {{"X-A", "b"}}}};
    setup.system_prompt = "be kind";
    setup.model = "smart";
    setup.model_url = "http://models.volary.internal/anthropic";
    setup.max_steps = 9;
    setup.tools = {{"shell", false}, {"plan_update", true}};
    const auto json = make_session_setup(setup);
    CHECK(json["_meta"]["volary.dev"]["tools"]["shell"]["enabled"] == false);
    const auto back = parse_session_setup(json);
    CHECK(back.session_id == "agent_1");
    CHECK(back.cwd == "/workspace");
    REQUIRE(back.mcp_servers.size() == 1);
    CHECK(back.mcp_servers[0].url == "http://volary.internal/mcp");
    CHECK(back.mcp_servers[0].headers.at("X-A") == "b");
    CHECK(back.system_prompt == "be kind");
    CHECK(back.model == "smart");
    CHECK(back.model_url == setup.model_url);
    CHECK(back.max_steps == 9);
    CHECK(back.tools == setup.tools);
    CHECK_THROWS_WITH(parse_session_setup(Json::object()), Catch::Contains("cwd"));
}

TEST_CASE("a prompt's blocks become text", "[acp]") {
    CHECK(parse_prompt_text(make_prompt("s", "hello")) == "hello");
    const Json params = {
        {"prompt",
         {{{"type", "text"}, {"text", "look"}},
          {{"type", "resource_link"}, {"uri", "file:///a"}},
          {{"type", "resource"}, {"resource", {{"uri", "file:///b"}, {"text", "inside"}}}},
          {{"type", "image"}, {"data", "AA=="}},
          7}}
    };
    CHECK(parse_prompt_text(params) == "look\nfile:///a\ninside");
    CHECK(parse_prompt_text(Json(3)).empty());
}

TEST_CASE("stop reasons survive the wire, unknown ones are told", "[acp]") {
    const auto reason = GENERATE(
        StopReason::end_turn, StopReason::max_tokens, StopReason::max_turn_requests,
        StopReason::refusal, StopReason::cancelled
    );
    CHECK(parse_prompt_result(make_prompt_result(reason)) == reason);
    CHECK_THROWS_WITH(parse_prompt_result(Json{{"stopReason", "bored"}}), Catch::Contains("bored"));
}

TEST_CASE("updates survive the wire", "[acp]") {
    Update update;
    update.session_id = "s";
    SECTION("text") {
        update.kind = GENERATE(
            Update::Kind::user_message, Update::Kind::agent_message, Update::Kind::agent_thought
        );
        update.text = "abc";
        const auto back = parse_update(make_update(update));
        CHECK(back.kind == update.kind);
        CHECK(back.text == "abc");
    }
    SECTION("tool call") {
        update.kind = Update::Kind::tool_call;
        update.tool = {"t1", "ls", "execute", ToolStatus::pending, R"({"command":"ls"})", "out"};
        const auto back = parse_update(make_update(update));
        CHECK(back.kind == Update::Kind::tool_call);
        CHECK(back.tool.id == "t1");
        CHECK(back.tool.kind == "execute");
        CHECK(back.tool.status == ToolStatus::pending);
        CHECK(back.tool.raw_input == R"({"command":"ls"})");
        CHECK(back.tool.text == "out");
    }
    SECTION("plan") {
        update.kind = Update::Kind::plan;
        update.plan = {{"one", "pending", "high"}};
        const auto back = parse_update(make_update(update));
        REQUIRE(back.plan.size() == 1);
        CHECK(back.plan[0].text == "one");
    }
    SECTION("a kind that we do not know is kept") {
        const Json params = {
            {"sessionId", "s"}, {"update", {{"sessionUpdate", "usage_update"}, {"used", 5}}}
        };
        const auto back = parse_update(params);
        CHECK(back.kind == Update::Kind::other);
        CHECK(back.name == "usage_update");
        CHECK(make_update(back) == params);
    }
}

TEST_CASE("hostile shapes of an update are errors or ignored, never worse", "[acp]") {
    CHECK_THROWS_AS(parse_update(Json(1)), Error);
    CHECK_THROWS_AS(parse_update(Json{{"sessionId", 3}}), Error);
    CHECK_THROWS_AS(parse_update(Json{{"sessionId", "s"}, {"update", Json::array()}}), Error);
    const Json odd = {
        {"sessionId", "s"},
        {"update",
         {{"sessionUpdate", "tool_call"},
          {"toolCallId", "t"},
          {"status", 4},
          {"content", {1, {{"type", "content"}, {"content", 2}}}}}}
    };
    CHECK(parse_update(odd).tool.text.empty());
}

TEST_CASE("steps, decisions and their ends survive the wire", "[acp]") {
    const Step step{"s", "step_1", "tool", "shell", "run ls", R"({"command":"ls"})"};
    const auto back = parse_step(make_step(step));
    CHECK(back.id == "step_1");
    CHECK(back.type == "tool");
    CHECK(back.title == "run ls");
    CHECK(back.arguments == R"({"command":"ls"})");
    auto wrong = make_step(step);
    wrong["step"]["type"] = "magic";
    CHECK_THROWS_AS(parse_step(wrong), Error);

    const StepDecision decision{true, R"({"command":"pwd"})", {"use pwd"}};
    const auto decided = parse_step_decision(make_step_decision(decision));
    CHECK(decided.proceed);
    CHECK(decided.arguments == R"({"command":"pwd"})");
    CHECK(decided.notes == std::vector<std::string>{"use pwd"});
    CHECK_FALSE(parse_step_decision(Json{{"decision", "refuse"}}).proceed);
    CHECK_THROWS_AS(parse_step_decision(Json{{"decision", "perhaps"}}), Error);

    const StepEnd end{"s", "step_1", false, std::string(5000, 'x'), 12, TokenUsage{3, 4}};
    const auto ended = parse_step_end(make_step_end(end));
    CHECK_FALSE(ended.ok);
    CHECK(ended.result.size() == kStepResultBytes);
    CHECK(ended.duration_ms == 12);
    CHECK(ended.usage == TokenUsage{3, 4});
}

TEST_CASE("a permission request is read and answered", "[acp]") {
    const Json params = {
        {"sessionId", "s"},
        {"toolCall", {{"toolCallId", "t"}, {"title", "rm"}}},
        {"options", {{{"optionId", "y"}, {"name", "Yes"}, {"kind", "allow_once"}}}}
    };
    const auto request = parse_permission_request(params);
    CHECK(request.tool.title == "rm");
    REQUIRE(request.options.size() == 1);
    CHECK(request.options[0].kind == "allow_once");
    CHECK(make_permission_selected("y")["outcome"]["optionId"] == "y");
    CHECK(make_permission_cancelled()["outcome"]["outcome"] == "cancelled");
    CHECK_THROWS_AS(parse_permission_request(Json::object()), Error);
}
