// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.hpp"
#include "base/error.hpp"
#include "daemon/agent/builtin/conversation.hpp"
#include "daemon/agent/builtin/history.hpp"
#include "daemon/agent/builtin/http_url.hpp"
#include "daemon/agent/builtin/mcp_client.hpp"
#include "daemon/agent/builtin/message_stream.hpp"
#include "daemon/agent/builtin/shell_tool.hpp"
#include "daemon/agent/builtin/sse.hpp"
#include "daemon/agent/builtin/turn.hpp"
#include "daemon/agent/builtin/turn_runner.hpp"

#include <filesystem>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::builtin;
using acp::StopReason;

namespace {

ModelAnswer answer(std::string_view content, std::string stop) {
    return {std::make_shared<const Json>(Json::parse(content)), std::move(stop), {}};
}

constexpr std::string_view kTwoTools = R"([{"type":"text","text":"ok"},
    {"type":"tool_use","id":"a","name":"shell","input":{"command":"ls"}},
    {"type":"tool_use","id":"b","name":"plan_update","input":{}}])";

StopReason reason_of(const Turn::Action& action) {
    REQUIRE(std::holds_alternative<Turn::Finish>(action));
    return std::get<Turn::Finish>(action).reason;
}

std::string tool_of(const Turn::Action& action) {
    REQUIRE(std::holds_alternative<Turn::CallTool>(action));
    return std::get<Turn::CallTool>(action).tool.id;
}

bool is_model(const Turn::Action& action) {
    return std::holds_alternative<Turn::CallModel>(action);
}

MessageStream& fed(MessageStream& stream, std::initializer_list<std::string_view> events) {
    for (const auto event : events) (void)stream.feed({"", std::string(event)});
    return stream;
}

}  // namespace

TEST_CASE("server-sent events come out however the bytes were cut", "[builtin]") {
    const std::string text =
        "\xef\xbb\xbf: hello\nevent: a\ndata: 1\ndata:2\n\nid: 7\r\ndata: x\r\n\r\ndata\n\n"
        "event: none\n\ndata: cut off";
    const auto cut = GENERATE(range(1, 20));
    SseParser parser;
    std::vector<SseEvent> events;
    for (std::size_t i = 0; i < text.size(); i += static_cast<std::size_t>(cut))
        for (auto& event : parser.feed(text.substr(i, static_cast<std::size_t>(cut))))
            events.push_back(event);
    REQUIRE(events.size() == 3);
    CHECK(events[0].name == "a");
    CHECK(events[0].data == "1\n2");
    CHECK(events[1].data == "x");
    CHECK(events[2].data.empty());
    SseParser small(10);
    CHECK_THROWS_AS(small.feed("data: 12345678901234567890"), Error);
}

TEST_CASE("a model's stream becomes blocks, usage and a stop reason", "[builtin]") {
    MessageStream stream;
    fed(stream,
        {R"({"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}})",
         R"({"type":"ping"})", R"({"type":"some_future_event"})",
         R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})"});
    const auto deltas = stream.feed(
        {"", R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}})"
        }
    );
    REQUIRE(deltas.size() == 1);
    CHECK(deltas[0].text == "hi");
    fed(stream,
        {R"({"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"shell","input":{}}})",
         R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"command\":"}})",
         R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"ls\"}"}})",
         R"({"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"lost"}})",
         R"({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":8}})"
        });
    CHECK_THROWS_WITH(stream.finish(), Catch::Contains("broke off"));
    fed(stream, {R"({"type":"message_stop"})"});
    const auto whole = stream.finish();
    CHECK(whole.stop_reason == "tool_use");
    CHECK(whole.usage == acp::TokenUsage{5, 8});
    REQUIRE(whole.content->size() == 2);
    CHECK((*whole.content)[0]["text"] == "hi");
    CHECK((*whole.content)[1]["input"]["command"] == "ls");
}

TEST_CASE("a broken or refused stream says what the provider said", "[builtin]") {
    MessageStream stream;
    CHECK_THROWS_WITH(
        fed(stream, {R"({"type":"error","error":{"type":"overloaded_error","message":"later"}})"}),
        Catch::Contains("overloaded_error: later")
    );
    CHECK_THROWS_AS(fed(stream, {"no json"}), Error);
    CHECK_THROWS_AS(
        fed(stream, {R"({"type":"content_block_start","index":99999,"content_block":{}})"}), Error
    );
}

TEST_CASE("a tool call whose input was cut off is not run", "[builtin]") {
    MessageStream stream;
    fed(stream,
        {R"({"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"shell","input":{}}})",
         R"({"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"comm"}})",
         R"({"type":"message_stop"})"});
    CHECK(stream.finish().content->empty());
}

TEST_CASE("a turn calls the model, then each tool in order, then the model", "[builtin]") {
    Conversation conversation;
    Turn turn(conversation, "go", 10);
    CHECK(is_model(turn.next()));
    turn.model_answered(answer(kTwoTools, "tool_use"));
    CHECK(tool_of(turn.next()) == "a");
    turn.tool_finished("a", "files", false);
    CHECK(tool_of(turn.next()) == "b");
    turn.note("hurry");
    turn.tool_finished("b", "", true);
    CHECK(is_model(turn.next()));
    turn.begin_model_call();
    const auto& last = conversation.messages().back()["content"];
    REQUIRE(last.size() == 3);
    CHECK(last[0]["tool_use_id"] == "a");
    CHECK(last[1]["is_error"] == true);
    CHECK(last[2]["text"] == "<operator-note>\nhurry\n</operator-note>");
    turn.model_answered(answer(R"([{"type":"text","text":"bye"}])", "end_turn"));
    CHECK(reason_of(turn.next()) == StopReason::end_turn);
    CHECK(conversation.messages().size() == 4);
}

TEST_CASE("a turn ends for the reason that the model gives", "[builtin]") {
    const auto [stop, expected] = GENERATE(table<std::string, StopReason>(
        {{"end_turn", StopReason::end_turn},
         {"max_tokens", StopReason::max_tokens},
         {"refusal", StopReason::refusal},
         {"something_new", StopReason::end_turn}}
    ));
    Conversation conversation;
    Turn turn(conversation, "go", 10);
    turn.model_answered(answer(R"([{"type":"text","text":"x"}])", stop));
    CHECK(reason_of(turn.next()) == expected);
}

TEST_CASE("every way out of a turn leaves each tool call with a result", "[builtin]") {
    Conversation conversation;
    Turn turn(conversation, "go", 2);
    turn.model_answered(answer(kTwoTools, GENERATE("tool_use", "max_tokens", "refusal")));
    SECTION("cancelled") {
        turn.cancel();
        (void)turn.next();
    }
    SECTION("failed") {
        turn.abandon();
        (void)turn.next();
    }
    SECTION("out of steps") {
        if (std::holds_alternative<Turn::CallTool>(turn.next())) {
            turn.tool_finished("a", "x", false);
            CHECK(reason_of(turn.next()) == StopReason::max_turn_requests);
        }
    }
    CHECK(conversation.open_tools().empty());
}

TEST_CASE("notes of a turn that ends are kept for the next", "[builtin]") {
    Conversation conversation;
    Turn turn(conversation, "go", 10);
    turn.note("later");
    turn.model_refused();
    CHECK(reason_of(turn.next()) == StopReason::refusal);
    CHECK_THAT(conversation.last_text(1000), Catch::Contains("later"));
    CHECK(conversation.last_text(2) == "go");
}

TEST_CASE("a conversation survives its file, a broken file is told", "[builtin]") {
    const auto folder = fmt::format("/tmp/volary-conversation-{}", ::getpid());
    const auto file = folder + "/s.json";
    CHECK_THROWS_WITH(load_conversation(file), Catch::Contains("no conversation"));
    Conversation conversation;
    conversation.add_user_text("hello \xff");
    conversation.add_assistant(Json::parse(kTwoTools));
    save_conversation(file, conversation);
    auto back = load_conversation(file);
    CHECK(back.messages().size() == 2);
    CHECK(back.open_tools().size() == 2);
    Turn turn(back, "again", 5);
    CHECK(back.open_tools().empty());
    CHECK(back.messages().size() == 3);
    const auto updates = history_updates(back, "s");
    REQUIRE(updates.size() == 7);
    CHECK(updates[2].tool.title == "shell");
    CHECK(updates[4].tool.status == acp::ToolStatus::failed);
    CHECK(updates[6].text == "again");
    REQUIRE(::truncate(file.c_str(), 10) == 0);
    CHECK_THROWS_WITH(load_conversation(file), Catch::Contains("no conversation of this agent"));
    std::filesystem::remove_all(folder);
}

TEST_CASE("addresses are taken apart", "[builtin]") {
    CHECK(HttpUrl::parse("http://a:8/x/y/").path == "/x/y");
    CHECK(HttpUrl::parse("http://a:8/x").origin == "http://a:8");
    CHECK(HttpUrl::parse("http://a").path == "/");
    CHECK_THROWS_AS(HttpUrl::parse("https://a"), Error);
    CHECK_THROWS_AS(HttpUrl::parse("http://"), Error);
}

TEST_CASE("tool rules: the exact name first, then globs", "[builtin]") {
    CHECK(is_enabled({}, "shell"));
    CHECK_FALSE(is_enabled({{"shell", false}}, "shell"));
    CHECK_FALSE(is_enabled({{"sub*", false}}, "subagent_invoke"));
    CHECK(is_enabled({{"*", false}, {"shell", true}}, "shell"));
}

TEST_CASE("results and specs of MCP tools are read", "[builtin]") {
    auto out = read_tool_result(Json::parse(
        R"({"content":[{"type":"text","text":"a"},{"type":"image"},7,{"type":"text","text":"b"}]})"
    ));
    CHECK(out.ok);
    CHECK(out.text == "a\n[image ]\nb");
    out = read_tool_result(Json::parse(R"({"isError":true,"structuredContent":{"a":1}})"));
    CHECK_FALSE(out.ok);
    CHECK(out.text == R"({"a":1})");
    CHECK_FALSE(read_tool_result(Json(3)).ok);
    CHECK(read_tool_spec(Json::parse(R"({"name":"x"})")).schema->at("type") == "object");
    CHECK_THROWS_AS(read_tool_spec(Json(1)), Error);
}

TEST_CASE("endless output keeps its start and its end and says what is missing", "[builtin]") {
    CappedText text(20);
    text.add("0123456789");
    CHECK(text.text() == "0123456789");
    for (int i = 0; i < 100; ++i) text.add("abcdefghij");
    CHECK(text.text() == "0123456789\n[... 990 bytes cut ...]\nabcdefghij");
}
