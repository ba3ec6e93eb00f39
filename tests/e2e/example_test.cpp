// SPDX-License-Identifier: Apache-2.0
// The demo's files are right by themselves: what this finds needs no daemon to be found.
#include "daemon/model/replay.hpp"
#include "daemon/model/script.hpp"
#include "dsl/load.hpp"

#include <cstdlib>
#include <filesystem>

#include <catch2/catch.hpp>

namespace volary {
namespace {

std::filesystem::path example() {
    const char* source = std::getenv("VOLARY_SOURCE");
    REQUIRE(source != nullptr);
    return std::filesystem::path(source) / "examples/music-site";
}

model::Transcript transcript(int turn, std::string last_tool, std::string last_message) {
    model::Transcript out;
    out.turn = turn;
    out.last_tool = std::move(last_tool);
    out.all = last_message;
    out.last_message = std::move(last_message);
    return out;
}

std::string said(const model::Reply& reply) {
    for (const auto& block : reply.content)
        if (block.type == model::Block::Type::text) return dump_json(*block.value);
    return {};
}

}  // namespace

TEST_CASE("the demo project loads without a diagnostic", "[example]") {
    const auto loaded = dsl::load_project(example());
    for (const auto& diagnostic : loaded.diagnostics) UNSCOPED_INFO(diagnostic.text());
    REQUIRE(loaded.diagnostics.empty());
    REQUIRE(loaded.project);
    CHECK(loaded.project->name == "music-site");
    const auto* scraper = dsl::find_agent(*loaded.project, "primary/scraper");
    REQUIRE(scraper != nullptr);
    CHECK(scraper->cage.net.size() == 1);
    REQUIRE(loaded.project->interconnect.size() == 1);
    CHECK(loaded.project->interconnect[0].invoke == "primary/deployer");
}

TEST_CASE("the demo's scripts branch on what the operator did to the plan", "[example]") {
    const auto script = model::load_script(example() / "replay/primary.json");
    const auto end = [&](std::string conversation) {
        return said(model::choose_reply(script, transcript(4, "plan_update", conversation)));
    };
    CHECK_THAT(end("{}"), Catch::Contains("Publishing to production"));
    CHECK_THAT(
        end("<operator-note>\"Publish to production\" is now \"Publish to staging\""),
        Catch::Contains("Deploying to staging, as you asked")
    );
    CHECK_THAT(end("<operator-note>something else"), Catch::Contains("you wrote"));
    CHECK_THAT(
        said(model::choose_reply(script, transcript(0, "", "scrape"))),
        Catch::Contains("This is the plan")
    );
}

TEST_CASE("the scraper's script goes on from what the shell printed", "[example]") {
    const auto script = model::load_script(example() / "replay/scraper.json");
    const auto next = [&](std::string result) {
        return model::choose_reply(script, transcript(1, "shell", std::move(result)))
            .content.back();
    };
    CHECK_THAT(
        dump_json(*next("fetched data/releases.json").value), Catch::Contains("evil.example")
    );
    CHECK_THAT(dump_json(*next("refused http://evil.example/").value), Catch::Contains("sed"));
    CHECK(next("\"title\": \"Tides at Noon\"").name == "signal_emit");
    CHECK(next("curl: (7)").type == model::Block::Type::text);
}

}  // namespace volary
