// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/mcp.hpp"

#include "daemon/agent/tools.hpp"
#include "daemon/http/types.hpp"
#include "dsl/project.hpp"
#include "tests/daemon/agent/fake_host.hpp"
#include "tests/support/loop.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::agent;

namespace {

/// Takes what a response streams.
class KeepingWriter final : public http::BodyWriter {
public:
    asio::awaitable<bool> write(std::string bytes) override {
        if (gone) co_return false;
        pieces.push_back(std::move(bytes));
        co_return true;
    }
    std::vector<std::string> pieces;
    bool gone = false;
};

struct Fixture {
    test::Loop loop;
    FakeHost host;
    McpServer server{host};
    Origin origin{SessionId("ses_1"), InvocationId("inv_1"), "primary"};
    dsl::Agent primary;
    dsl::Agent scraper;

    Fixture() {
        scraper.name = "scraper";
        scraper.path = "primary/scraper";
        scraper.description = "reads the shop";
        scraper.signals = {"found_release"};
        primary.name = primary.path = "primary";
        primary.subagents = {scraper};
    }

    http::Response post(std::string body, const dsl::Agent& agent) {
        return loop.run(server.handle(std::move(body), origin, agent));
    }
    Json rpc(const Json& message, const dsl::Agent& agent) {
        const auto response = post(message.dump(), agent);
        CHECK(response.status == 200);
        return Json::parse(response.payload());
    }
    Json call(std::string_view tool, Json arguments) {
        const Json message = {
            {"jsonrpc", "2.0"},
            {"id", 7},
            {"method", "tools/call"},
            {"params", {{"name", tool}, {"arguments", std::move(arguments)}}}
        };
        const auto& agent = tool == "signal_emit" ? scraper : primary;
        return rpc(message, agent)["result"];
    }
    std::vector<std::string> listed(const dsl::Agent& agent) {
        const auto doc = rpc({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/list"}}, agent);
        std::vector<std::string> names;
        for (const auto& tool : doc["result"]["tools"]) {
            CHECK(tool["inputSchema"]["type"] == "object");
            names.push_back(tool["name"]);
        }
        return names;
    }
    /// Streams a subagent_result; its pieces.
    KeepingWriter result_of(Json arguments, bool gone = false) {
        const Json message = {
            {"jsonrpc", "2.0"},
            {"id", "r"},
            {"method", "tools/call"},
            {"params", {{"name", "subagent_result"}, {"arguments", std::move(arguments)}}}
        };
        auto response = post(message.dump(), primary);
        CHECK(response.media == http::Media::event_stream);
        KeepingWriter writer;
        writer.gone = gone;
        REQUIRE(response.stream);
        loop.run(response.stream(writer));
        return writer;
    }
};

/// The structured answer of a tool result, which its text repeats.
Json structured(const Json& result) {
    CHECK(result["isError"] == false);
    CHECK(
        Json::parse(result["content"][0]["text"].get<std::string>()) == result["structuredContent"]
    );
    return result["structuredContent"];
}

/// What a refused tool says.
Json refused(const Json& result) {
    CHECK(result["isError"] == true);
    CHECK_FALSE(result.contains("structuredContent"));
    return Json::parse(result["content"][0]["text"].get<std::string>());
}

/// The message of an event stream's last event.
Json last_event(const KeepingWriter& writer) {
    REQUIRE_FALSE(writer.pieces.empty());
    const auto& piece = writer.pieces.back();
    const std::string_view begin = "event: message\ndata: ";
    REQUIRE(piece.starts_with(begin));
    REQUIRE(piece.ends_with("\n\n"));
    return Json::parse(piece.substr(begin.size()));
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(Fixture, "initialize agrees on a version that both know", "[agent]") {
    const auto [asked, agreed] = GENERATE(table<std::string, std::string>(
        {{"2025-06-18", "2025-06-18"}, {"2025-03-26", "2025-03-26"}, {"1999-01-01", "2025-06-18"}}
    ));
    const auto doc =
        rpc({{"jsonrpc", "2.0"},
             {"id", "a"},
             {"method", "initialize"},
             {"params", {{"protocolVersion", asked}}}},
            primary);
    CHECK(doc["id"] == "a");
    CHECK(doc["result"]["protocolVersion"] == agreed);
    CHECK(doc["result"]["capabilities"].contains("tools"));
    CHECK(doc["result"]["serverInfo"]["name"] == "volary");
}

TEST_CASE_METHOD(Fixture, "the tools follow from the place in the tree", "[agent]") {
    CHECK(listed(primary) == Names{"plan_update", "subagent_invoke", "subagent_result"});
    CHECK(listed(scraper) == Names{"signal_emit"});
    dsl::Agent leaf;
    leaf.name = "leaf";
    leaf.path = "primary/leaf";
    CHECK(listed(leaf).empty());
}

TEST_CASE_METHOD(Fixture, "a disabled tool is neither listed nor callable", "[agent]") {
    primary.tools["plan_*"] = {false, ""};
    primary.tools["subagent_result"] = {false, ""};
    CHECK(listed(primary) == Names{"subagent_invoke"});
    const auto doc =
        rpc({{"jsonrpc", "2.0"},
             {"id", 1},
             {"method", "tools/call"},
             {"params", {{"name", "plan_update"}, {"arguments", {{"entries", Json::array()}}}}}},
            primary);
    CHECK(doc["error"]["code"] == -32602);
    CHECK(host.plans.empty());
}

TEST_CASE_METHOD(Fixture, "a tool's description can be the project's own", "[agent]") {
    scraper.tools["signal_emit"] = {true, "tell of a release"};
    CHECK(tools_for(scraper)[0]["description"] == "tell of a release");
    const auto tools = tools_for(primary);
    const auto about = tools[1]["description"].get<std::string>();
    CHECK_THAT(about, Catch::Contains("- scraper: reads the shop"));
    CHECK(tools[1]["inputSchema"]["properties"]["agent"]["enum"] == Json{"scraper"});
}

TEST_CASE("tool rules: the exact name first, then globs, then yes", "[agent]") {
    dsl::Agent agent;
    CHECK(is_tool_enabled(agent, "shell"));
    agent.tools["*"] = {false, ""};
    CHECK_FALSE(is_tool_enabled(agent, "shell"));
    agent.tools["shell"] = {true, ""};
    CHECK(is_tool_enabled(agent, "shell"));
    CHECK_FALSE(is_tool_enabled(agent, "signal_emit"));
    agent.tools.erase("*");
    agent.tools["sub*_[ir]*"] = {false, ""};
    CHECK_FALSE(is_tool_enabled(agent, "subagent_invoke"));
    CHECK(is_tool_enabled(agent, "signal_emit"));
}

TEST_CASE_METHOD(Fixture, "a plan reaches the session with the caller's name", "[agent]") {
    const Json entries = {
        {{"text", "scrape"}, {"status", "in_progress"}}, {{"id", "9"}, {"text", "deploy"}}
    };
    CHECK(structured(call("plan_update", {{"entries", entries}}))["entries"] == 2);
    REQUIRE(host.plans.size() == 1);
    const auto& plan = host.plans.front();
    CHECK(plan[0].text == "scrape");
    CHECK(plan[0].status == "in_progress");
    CHECK(plan[0].id.empty());
    CHECK(plan[1].id == "9");
    CHECK(plan[1].status == "pending");
    CHECK(host.who.invocation == origin.invocation);
}

TEST_CASE_METHOD(Fixture, "a wrong plan is refused with every problem", "[agent]") {
    const Json entries = {{{"text", 7}}, {{"text", "ok"}, {"status", "soon"}}, "no object"};
    const auto about = refused(call("plan_update", {{"entries", entries}, {"more", 1}}));
    CHECK(about["error"] == "invalid");
    const auto details = about["details"].dump();
    CHECK_THAT(details, Catch::Contains("entries[0]") && Catch::Contains("entries[1]"));
    CHECK_THAT(details, Catch::Contains("entries[2]") && Catch::Contains("more"));
    CHECK(host.plans.empty());
    CHECK(refused(call("plan_update", {{"entries", "x"}}))["error"] == "invalid");
    CHECK(refused(call("plan_update", Json::object()))["error"] == "invalid");
    CHECK(refused(call("plan_update", Json(3)))["error"] == "invalid");
}

TEST_CASE_METHOD(Fixture, "a subagent is started and named at once", "[agent]") {
    const auto about = structured(call("subagent_invoke", {{"agent", "scraper"}, {"task", "go"}}));
    CHECK(about["invocation"] == "inv_child");
    CHECK(about["state"] == "starting");
    CHECK(host.invoked.front() == std::pair<std::string, std::string>("scraper", "go"));
}

TEST_CASE_METHOD(Fixture, "what the session refuses is a tool error with its code", "[agent]") {
    host.refusal = Error(Errc::conflict, "the run is being stopped");
    const auto about = refused(call("subagent_invoke", {{"agent", "scraper"}, {"task", "go"}}));
    CHECK(about["error"] == "conflict");
    CHECK_THAT(about["message"].get<std::string>(), Catch::Contains("being stopped"));
    CHECK(refused(call("plan_update", {{"entries", Json::array()}}))["error"] == "conflict");
    CHECK(refused(call("signal_emit", {{"signal", "found_release"}}))["error"] == "conflict");
}

TEST_CASE_METHOD(Fixture, "a call of subagent_invoke that lacks something is refused", "[agent]") {
    CHECK(refused(call("subagent_invoke", {{"agent", "scraper"}}))["error"] == "invalid");
    CHECK(refused(call("subagent_invoke", {{"agent", 1}, {"task", "x"}}))["error"] == "invalid");
    CHECK(host.invoked.empty());
}

TEST_CASE_METHOD(Fixture, "a signal carries its data and answers its log position", "[agent]") {
    const Json data = {{"url", "http://shop/1"}};
    const auto about =
        structured(call("signal_emit", {{"signal", "found_release"}, {"data", data}}));
    CHECK(about["signal_seq"] == 12);
    CHECK(host.signals.front().first == "found_release");
    CHECK(Json::parse(host.signals.front().second) == data);
    (void)call("signal_emit", {{"signal", "found_release"}});
    CHECK(host.signals.back().second == "{}");
}

TEST_CASE_METHOD(Fixture, "a subagent's result comes as an event", "[agent]") {
    host.answer = SubagentAnswer{{}, "succeeded", "", "12 releases"};
    const auto writer = result_of({{"invocation", "inv_child"}});
    CHECK(writer.pieces.size() == 1);
    const auto message = last_event(writer);
    CHECK(message["id"] == "r");
    const auto about = structured(message["result"]);
    CHECK(about["invocation"] == "inv_child");
    CHECK(about["outcome"] == "succeeded");
    CHECK(about["result"] == "12 releases");
}

TEST_CASE_METHOD(Fixture, "comments keep the wire alive while a subagent works", "[agent]") {
    host.answer = SubagentAnswer{{}, "failed", "exit 2", ""};
    host.timeouts = 3;
    const auto writer = result_of({{"invocation", "inv_child"}});
    REQUIRE(writer.pieces.size() == 4);
    for (std::size_t i = 0; i < 3; ++i) CHECK(writer.pieces[i] == ": working\n\n");
    CHECK(structured(last_event(writer)["result"])["reason"] == "exit 2");
    for (const auto deadline : host.deadlines) CHECK(deadline <= std::chrono::seconds(15));
}

TEST_CASE_METHOD(Fixture, "a wait that runs out of time says that it still works", "[agent]") {
    const auto writer = result_of({{"invocation", "inv_child"}, {"wait_seconds", 0}});
    const auto about = refused(last_event(writer)["result"]);
    CHECK(about["error"] == "timeout");
}

TEST_CASE_METHOD(Fixture, "a wait for what is not one's own is refused in the stream", "[agent]") {
    host.refusal = Error(Errc::not_found, "no invocation inv_other");
    CHECK(
        refused(last_event(result_of({{"invocation", "inv_other"}}))["result"])["error"] ==
        "not_found"
    );
}

TEST_CASE_METHOD(Fixture, "wrong arguments of a wait are refused in the stream", "[agent]") {
    const auto arguments = GENERATE(
        Json::object(), Json({{"invocation", 1}}),
        Json({{"invocation", "inv_child"}, {"wait_seconds", -1}}),
        Json({{"invocation", "inv_child"}, {"wait_seconds", 1'000'000}}),
        Json({{"invocation", "inv_child"}, {"more", true}}), Json("text")
    );
    const auto about = refused(last_event(result_of(arguments))["result"]);
    CHECK(about["error"] == "invalid");
}

TEST_CASE_METHOD(Fixture, "a caller that is gone ends its wait", "[agent]") {
    host.timeouts = 1000;
    const auto writer = result_of({{"invocation", "inv_child"}}, true);
    CHECK(writer.pieces.empty());
    CHECK(host.deadlines.size() == 1);
}

TEST_CASE_METHOD(Fixture, "what is no JSON-RPC is answered as the protocol says", "[agent]") {
    const auto [body, code] = GENERATE(table<std::string, int>(
        {{"{", -32700},
         {"", -32700},
         {"[]", -32600},
         {"7", -32600},
         {R"({"id":1,"method":"ping"})", -32600},
         {R"({"jsonrpc":"1.0","id":1,"method":"ping"})", -32600},
         {R"({"jsonrpc":"2.0","id":1,"method":"resources/list"})", -32601},
         {R"({"jsonrpc":"2.0","id":1,"method":"tools/call"})", -32602},
         {R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"shell"}})", -32602},
         {R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]})", -32602}}
    ));
    CAPTURE(body);
    const auto response = post(body, primary);
    CHECK(response.status == 200);
    CHECK(Json::parse(response.payload())["error"]["code"] == code);
}

TEST_CASE_METHOD(Fixture, "a notification is taken without an answer", "[agent]") {
    const auto response =
        post(R"({"jsonrpc":"2.0","method":"notifications/initialized"})", primary);
    CHECK(response.status == 202);
    CHECK(response.payload().empty());
}
