// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/replay.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::model;

namespace {

Json user(Json content) { return {{"role", "user"}, {"content", std::move(content)}}; }
Json assistant(Json content) { return {{"role", "assistant"}, {"content", std::move(content)}}; }
Json text(std::string_view words) { return {{"type", "text"}, {"text", words}}; }
Json tool_use(std::string_view id, std::string_view name) {
    return {{"type", "tool_use"}, {"id", id}, {"name", name}, {"input", {{"k", "input-word"}}}};
}
Json tool_result(std::string_view id, Json content) {
    return {{"type", "tool_result"}, {"tool_use_id", id}, {"content", std::move(content)}};
}
Json request(std::initializer_list<Json> messages) {
    return {{"model", "smart"}, {"messages", Json(messages)}};
}

Script script_of(std::string_view text) { return parse_script(text, "smart.json"); }

}  // namespace

TEST_CASE("a transcript counts turns from the last plain text of the user", "[model]") {
    auto t = read_transcript(request({user("go")}));
    CHECK(t.turn == 0);
    CHECK(t.last_tool.empty());

    t = read_transcript(request(
        {user("go"), assistant(Json::array({text("ok"), tool_use("1", "shell")})),
         user(Json::array({tool_result("1", "done")}))}
    ));
    CHECK(t.turn == 1);
    CHECK(t.last_tool == "shell");
    CHECK(t.last_result == "done");
    CHECK_THAT(t.all, Catch::Contains("input-word") && Catch::Contains("done"));
    CHECK_THAT(t.last_message, !Catch::Contains("input-word") && Catch::Contains("done"));

    SECTION("an operator note does not begin a new turn") {
        t = read_transcript(request(
            {user("go"), assistant(Json::array({tool_use("1", "shell")})),
             user(Json::array(
                 {tool_result("1", "done"), text("<operator-note>\nfaster\n</operator-note>")}
             ))}
        ));
        CHECK(t.turn == 1);
        CHECK(t.last_tool == "shell");
        CHECK_THAT(t.last_message, Catch::Contains("faster"));
    }
    SECTION("the next message of the user does") {
        t = read_transcript(request(
            {user("go"), assistant(Json::array({tool_use("1", "shell")})),
             user(Json::array({tool_result("1", "done")})), assistant("bye"), user("again")}
        ));
        CHECK(t.turn == 0);
        CHECK(t.last_tool.empty());
        CHECK_THAT(t.all, Catch::Contains("done"));
    }
}

TEST_CASE("a request of the wrong shape is told", "[model]") {
    CHECK_THROWS_AS(read_transcript(Json(1)), Error);
    CHECK_THROWS_AS(read_transcript(Json::object()), Error);
    CHECK_THROWS_AS(read_transcript(request({})), Error);
    CHECK_THROWS_WITH(read_transcript(request({Json(1)})), Catch::Contains("messages.0.role"));
    CHECK_THROWS_WITH(read_transcript(request({user(5)})), Catch::Contains("messages.0.content"));
}

TEST_CASE("all conditions of a reply must hold", "[model]") {
    Transcript t;
    t.turn = 2;
    t.last_tool = "shell";
    t.all = "alpha beta";
    t.last_message = "beta";
    t.system = "you are a scraper";
    CHECK(matches({}, t));
    CHECK(matches({.turn = 2, .last_tool = "shell"}, t));
    CHECK_FALSE(matches({.turn = 1}, t));
    CHECK_FALSE(matches({.last_tool = ""}, t));
    CHECK(matches({.contains = {"alpha", "beta"}}, t));
    CHECK_FALSE(matches({.contains = {"alpha", "gamma"}}, t));
    CHECK_FALSE(matches({.not_contains = {"gamma", "alpha"}}, t));
    CHECK(matches({.last_contains = {"beta"}}, t));
    CHECK_FALSE(matches({.last_contains = {"alpha"}}, t));
    CHECK(matches({.system_contains = {"scraper"}}, t));
    CHECK_FALSE(matches({.system_contains = {"deployer"}}, t));
}

TEST_CASE("the first reply that matches wins, none is an error that says so", "[model]") {
    const auto script = script_of(R"({"version":1,"replies":[
        {"when":{"turn":0},"content":[{"type":"text","text":"one"}]},
        {"when":{"turn":0},"content":[{"type":"text","text":"two"}]}]})");
    Transcript t;
    CHECK(&choose_reply(script, t) == &script.replies[0]);
    t.turn = 3;
    t.last_tool = "shell";
    CHECK_THROWS_WITH(
        choose_reply(script, t),
        R"(replay script "smart": none of its 2 replies matches (turn 3, last tool "shell"))"
    );
}

TEST_CASE("templates take from the last tool result", "[model]") {
    const auto script = script_of(R"({"version":1,"replies":[{"content":[
        {"type":"text","text":{"$last":"/exit_code"}},
        {"type":"tool_use","name":"signal_emit","input":{
            "list":[1,{"$last_json":"/stdout"}],
            "url":{"$last_json":["/stdout","/0/url"]}}}]}]})");
    Transcript t;
    t.last_tool = "shell";
    t.last_result = R"({"exit_code":0,"stdout":"[{\"url\":\"http://a\"}]"})";
    const auto answer = make_answer(script, script.replies[0], t, "msg_1", "smart");
    CHECK(answer.stop_reason == "tool_use");
    CHECK((*answer.content)[0]["text"] == "0");
    const auto& call = (*answer.content)[1];
    CHECK(call["name"] == "signal_emit");
    CHECK(call["id"] == "toolu_msg_1_1");
    CHECK(call["input"]["url"] == "http://a");
    CHECK(call["input"]["list"] == Json::parse(R"([1,[{"url":"http://a"}]])"));
    CHECK(answer.input_tokens > 0);
    CHECK(answer.output_tokens > 1);
    const auto again = make_answer(script, script.replies[0], t, "msg_1", "smart");
    CHECK(again.output_tokens == answer.output_tokens);

    t.last_result = "plain";
    CHECK_THROWS_WITH(
        make_answer(script, script.replies[0], t, "m", "smart"), Catch::Contains("is no JSON")
    );
    t.last_result = R"({"exit_code":0})";
    CHECK_THROWS_WITH(
        make_answer(script, script.replies[0], t, "m", "smart"),
        Catch::Contains("nothing at \"/stdout\"")
    );
    t.last_result = R"({"exit_code":0,"stdout":"x"})";
    CHECK_THROWS_AS(make_answer(script, script.replies[0], t, "m", "smart"), Error);
}

TEST_CASE("an answer becomes the frames of the dialect", "[model]") {
    anthropic::Answer answer;
    answer.id = "msg_1";
    answer.model = "smart";
    const std::string words = "Grüße from a model that says quite a few words.";
    answer.content = std::make_shared<const Json>(Json::array(
        {text(words),
         {{"type", "tool_use"}, {"id", "t"}, {"name", "shell"}, {"input", {{"command", "ls -l"}}}}}
    ));
    answer.stop_reason = "tool_use";
    answer.input_tokens = 7;
    answer.output_tokens = 9;
    std::string said;
    std::string input;
    std::vector<std::string> names;
    for (const auto& frame : anthropic::stream_frames(answer)) {
        REQUIRE(frame.bytes.starts_with("event: "));
        REQUIRE(frame.bytes.ends_with("\n\n"));
        const auto line = frame.bytes.find("\ndata: ");
        const auto data = Json::parse(frame.bytes.substr(line + 7));
        const auto name = frame.bytes.substr(7, line - 7);
        CHECK(data["type"] == name);
        if (names.empty() || names.back() != name) names.push_back(name);
        CHECK(frame.delta == (name == "content_block_delta"));
        if (name == "message_start") CHECK(data["message"]["usage"]["input_tokens"] == 7);
        if (name == "message_delta") {
            CHECK(data["delta"]["stop_reason"] == "tool_use");
            CHECK(data["usage"]["output_tokens"] == 9);
        }
        if (!frame.delta) continue;
        const auto& delta = data["delta"];
        if (delta["type"] == "text_delta") said += delta["text"].get<std::string>();
        if (delta["type"] == "input_json_delta") input += delta["partial_json"].get<std::string>();
    }
    CHECK(said == words);
    CHECK(Json::parse(input)["command"] == "ls -l");
    CHECK(
        names ==
        std::vector<std::string>{
            "message_start", "ping", "content_block_start", "content_block_delta",
            "content_block_stop", "content_block_start", "content_block_delta",
            "content_block_stop", "message_delta", "message_stop"
        }
    );
    const auto whole = Json::parse(anthropic::message_json(answer));
    CHECK(whole["content"][0]["text"] == words);
    CHECK(whole["stop_reason"] == "tool_use");
    CHECK(whole["usage"]["output_tokens"] == 9);
}

TEST_CASE("text is cut at spaces and never inside a character", "[model]") {
    CHECK(anthropic::split_text("", 4).empty());
    const auto pieces = anthropic::split_text("ab cd efghijkl \xc3\xbc\xc3\xbc\xc3\xbc", 5);
    std::string joined;
    for (const auto piece : pieces) {
        CHECK(piece.size() <= 5);
        CHECK(is_utf8(piece));
        joined += piece;
    }
    CHECK(joined == "ab cd efghijkl \xc3\xbc\xc3\xbc\xc3\xbc");
}

TEST_CASE("error types and statuses belong together", "[model]") {
    CHECK(anthropic::error_status("overloaded_error") == 529);
    CHECK_FALSE(anthropic::error_status("odd").has_value());
    CHECK(anthropic::error_type(403) == "permission_error");
    CHECK(anthropic::error_type(418) == "invalid_request_error");
    CHECK(anthropic::error_type(503) == "api_error");
    CHECK(Json::parse(anthropic::error_json("api_error", "x"))["error"]["message"] == "x");
}
