// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/script.hpp"

#include "base/error.hpp"
#include "daemon/model/catalogue.hpp"

#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::model;

namespace {

std::vector<std::string> problems_of(std::string_view text) {
    try {
        (void)parse_script(text, "s.json");
    } catch (const Error& e) {
        return e.details().empty() ? std::vector<std::string>{e.what()} : e.details();
    }
    return {};
}

std::string with_reply(std::string_view reply) {
    return fmt::format(R"({{"version":1,"replies":[{}]}})", reply);
}

}  // namespace

TEST_CASE("a whole script is read", "[model]") {
    const auto script = parse_script(
        R"({"version":1,"description":"d","replies":[
            {"description":"first","when":{"turn":1,"last_tool":"shell","contains":"a",
             "not_contains":["b","c"],"last_contains":"d","system_contains":["e"]},
             "delay_ms":5,"first_delay_ms":7,"stop_reason":"max_tokens",
             "content":[{"type":"text","text":"hi"},
                        {"type":"tool_use","name":"t","input":{"x":{"$last":"/a"}}}]},
            {"error":{"type":"overloaded_error","message":"busy"}}]})",
        "/x/smart.json"
    );
    CHECK(script.name == "smart");
    REQUIRE(script.replies.size() == 2);
    const auto& first = script.replies[0];
    CHECK(first.when.turn == 1);
    CHECK(first.when.last_tool == "shell");
    CHECK(first.when.not_contains == std::vector<std::string>{"b", "c"});
    CHECK(first.delay.count() == 5);
    CHECK(first.first_delay.count() == 7);
    CHECK(first.stop_reason == "max_tokens");
    REQUIRE(first.content.size() == 2);
    CHECK(first.content[1].name == "t");
    CHECK(script.replies[1].error->type == "overloaded_error");
}

TEST_CASE("every problem of a script is told with its file and path", "[model]") {
    const auto problems = problems_of(R"({"version":2,"extra":1,"replies":[
        {"when":{"turn":-1,"tern":2,"contains":5},"content":[]},
        {"delay_ms":"x","content":[{"type":"image"},{"type":"text"},{"type":"tool_use"}]},
        {},
        7]})");
    const auto has = [&](std::string_view start) {
        return std::any_of(problems.begin(), problems.end(), [&](const std::string& p) {
            return p.starts_with(start);
        });
    };
    CHECK(has("s.json: version: must be 1"));
    CHECK(has("s.json: extra: unknown key; known are version, description, replies"));
    CHECK(has("s.json: replies[0].when.turn: must be an integer"));
    CHECK(has("s.json: replies[0].when.tern: unknown key"));
    CHECK(has("s.json: replies[0].when.contains: must be a string or a list"));
    CHECK(has("s.json: replies[0].content: must be a list with at least one"));
    CHECK(has("s.json: replies[1].delay_ms"));
    CHECK(has("s.json: replies[1].content[0].type"));
    CHECK(has("s.json: replies[1].content[1].text"));
    CHECK(has("s.json: replies[1].content[2].name"));
    CHECK(has("s.json: replies[2]: needs either content or error"));
    CHECK(has("s.json: replies[3]: must be an object"));
}

TEST_CASE("odd scripts are errors", "[model]") {
    CHECK(problems_of("").size() == 1);
    CHECK(problems_of("[]").size() == 1);
    CHECK(problems_of("{").front().starts_with("s.json: "));
    CHECK(problems_of(R"({"version":1})").size() == 1);
    const auto reply = GENERATE(
        R"({"content":[{"type":"text","text":{"$lost":"/x"}}]})",
        R"({"content":[{"type":"text","text":{"$last":"x"}}]})",
        R"({"content":[{"type":"text","text":{"$last":"/x","b":1}}]})",
        R"({"content":[{"type":"tool_use","name":"t","input":{"a":[{"$last_json":["/x"]}]}}]})",
        R"({"content":[{"type":"text","text":"x"}],"stop_reason":"tired"})",
        R"({"error":{"type":"tired_error","message":"x"}})",
        R"({"content":[{"type":"text","text":"x"}],"error":{"type":"api_error","message":"x"}})"
    );
    CAPTURE(reply);
    CHECK(problems_of(with_reply(reply)).size() == 1);
}

TEST_CASE("a catalogue finds the scripts of a folder and tells which are broken", "[model]") {
    const auto folder =
        std::filesystem::temp_directory_path() / fmt::format("volary-catalogue-{}", ::getpid());
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "smart.json")
        << with_reply(R"({"content":[{"type":"text","text":"x"}]})");
    std::ofstream(folder / "fast.json") << "{";
    std::ofstream(folder / "notes.txt") << "no script";
    const auto catalogue = Catalogue::from_replay_folder(folder);
    CHECK(catalogue.aliases.size() == 2);
    REQUIRE(catalogue.find("smart") != nullptr);
    CHECK(catalogue.find("smart")->script == folder / "smart.json");
    CHECK(catalogue.find("slow") == nullptr);
    const auto problems = catalogue.check();
    REQUIRE(problems.size() == 1);
    CHECK_THAT(problems[0], Catch::StartsWith("model alias \"fast\": "));
    std::filesystem::remove_all(folder);
    CHECK(catalogue.check().size() == 2);
    CHECK_THROWS_AS(Catalogue::from_replay_folder(folder), Error);
}
