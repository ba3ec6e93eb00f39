// SPDX-License-Identifier: Apache-2.0
#include "dsl/load.hpp"

#include "tests/dsl/temp_project.hpp"

#include <algorithm>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::dsl {
namespace {

Project load_ok(const TempProject& folder) {
    auto result = load_project(folder.root());
    for (const auto& each : result.diagnostics) UNSCOPED_INFO(each.text());
    REQUIRE(result.project.has_value());
    REQUIRE(result.diagnostics.empty());
    return std::move(*result.project);
}

std::string only_problem(const LoadResult& result) {
    CHECK_FALSE(result.project.has_value());
    for (const auto& each : result.diagnostics) UNSCOPED_INFO(each.text());
    REQUIRE(result.diagnostics.size() == 1);
    const auto& one = result.diagnostics.front();
    return fmt::format("{}:{}: {}: {}", one.line, one.column, one.path, one.message);
}

std::string small_with(std::string_view more) { return std::string(kSmallest) + std::string(more); }

TEST_CASE("the story of the manual loads as it reads", "[dsl]") {
    const TempProject folder;
    folder.project(kStory);
    const auto project = load_ok(folder);

    CHECK(project.name == "music-site");
    CHECK(project.root == folder.root().string());
    CHECK(project.file == folder.at(".volary/project.yaml"));
    CHECK(project.primary.path == "primary");
    CHECK(project.primary.max_steps == 60U);
    CHECK_FALSE(project.primary.tools.at("shell").enabled);
    CHECK(project.primary.system_prompt == folder.at("prompts/primary.md"));

    const auto* scraper = find_agent(project, "primary/scraper");
    REQUIRE(scraper != nullptr);
    CHECK(scraper->model == "fast");
    CHECK_FALSE(scraper->cage.workspace_writable);
    CHECK(scraper->cage.workspace == project.root);
    const auto origin = folder.at(".volary/project.yaml") + ":17";
    const FsRule data{folder.at("data"), project.root, FsMode::rw, "/workspace/data", origin};
    CHECK(scraper->cage.fs == std::vector{data});
    REQUIRE(scraper->cage.net.size() == 2);
    CHECK(scraper->cage.net[1].kind == NetRule::Kind::wildcard);
    CHECK(scraper->cage.net[1].text == "*.bandcamp.com:443");
    CHECK(scraper->cage.net[1].origin == folder.at(".volary/project.yaml") + ":18");
    CHECK(scraper->cage.origins.at("limits.wall") == folder.at(".volary/project.yaml") + ":19");
    CHECK(scraper->cage.limits.memory == ByteCount{std::uint64_t{512} << 20U});
    CHECK(scraper->cage.limits.wall == std::chrono::minutes(10));
    CHECK(scraper->cage.limits.disk == default_limits().disk);

    const auto* deployer = find_agent(project, "primary/deployer");
    REQUIRE(deployer != nullptr);
    CHECK(deployer->runner == Runner{Runner::Kind::exec, {"./deploy-prep.sh"}});
    CHECK(deployer->cage.net[0].allow_private);
    CHECK(find_agent(project, "primary/nobody") == nullptr);

    REQUIRE(project.interconnect.size() == 1);
    const auto& rule = project.interconnect[0];
    CHECK(rule.from == "primary/scraper");
    CHECK(rule.invoke == "primary/deployer");
    CHECK(rule.dedupe == std::vector<std::string>{"/url"});
    CHECK(rule.max_depth == 4);
}

TEST_CASE("without fs the workspace is writable but for what configures it", "[dsl]") {
    const TempProject folder;
    folder.project(kSmallest);
    folder.write(".git/config", "[core]");
    folder.write(".git/hooks/pre-commit", "");
    const auto cage = load_ok(folder).primary.cage;
    CHECK(cage.workspace_writable);
    CHECK(cage.net.empty());
    std::vector<std::string> read_only;
    for (const auto& rule : cage.fs) {
        CHECK(rule.mode == FsMode::ro);
        read_only.push_back(rule.target);
    }
    CHECK(
        read_only ==
        std::vector<std::string>{
            "/workspace/.volary", "/workspace/.git/hooks", "/workspace/.git/config"
        }
    );
}

TEST_CASE("a writable root keeps the project file read-only", "[dsl]") {
    const TempProject folder;
    folder.project(small_with("  cage: { fs: [ { path: project:/, mode: rw } ] }\n"));
    const auto cage = load_ok(folder).primary.cage;
    CHECK(cage.workspace_writable);
    REQUIRE(cage.fs.size() == 1);
    CHECK(cage.fs[0].target == "/workspace/.volary");
    CHECK(cage.fs[0].mode == FsMode::ro);
}

TEST_CASE("no spelling makes the project file writable", "[dsl]") {
    const TempProject folder;
    std::filesystem::create_directory_symlink(".volary", folder.root() / "door");
    const auto* path =
        GENERATE("project:/.volary", "config:/", "project:/door", "project:/./.volary//");
    const auto* at = GENERATE("", ", at: /elsewhere");
    const auto* mode = GENERATE("rw", "cow");
    folder.project(small_with(
        fmt::format("  cage: {{ fs: [ {{ path: '{}', mode: {}{} }} ] }}\n", path, mode, at)
    ));
    CHECK_THAT(
        only_problem(load_project(folder.root())), Catch::Contains("cannot be writable in a cage")
    );
}

TEST_CASE("what leaves the project is refused", "[dsl]") {
    const TempProject folder;
    std::filesystem::create_symlink("/etc/hostname", folder.root() / "out.md");
    std::filesystem::create_directory_symlink("..", folder.root() / "up");
    const auto* path = GENERATE(
        "project:/../etc/passwd", "project:/a/../../b", "config:/../../x", "project:/out.md",
        "project:/up/x", "/etc/passwd", "prompts/primary.md", "file:/etc/passwd",
        "project:prompts/primary.md", "project:/", "project:/data", "project:/missing.md"
    );
    folder.project(fmt::format(
        "version: 1\nproject: small\nprimary:\n  model: smart\n  system_prompt: \"{}\"\n", path
    ));
    INFO(path);
    CHECK_THAT(
        only_problem(load_project(folder.root())),
        Catch::StartsWith("5:18: primary.system_prompt: ")
    );
}

TEST_CASE("a system prompt is a text file of bounded size", "[dsl]") {
    const TempProject folder;
    folder.project(kSmallest);
    SECTION("exactly the bound passes") {
        folder.write("prompts/primary.md", std::string(262144, 'a'));
        load_ok(folder);
    }
    SECTION("one byte more does not") {
        folder.write("prompts/primary.md", std::string(262145, 'a'));
        CHECK_THAT(
            only_problem(load_project(folder.root())), Catch::Contains("larger than 256 KiB")
        );
    }
    SECTION("bytes are no text") {
        folder.write("prompts/primary.md", "\xFF\xFE");
        CHECK_THAT(only_problem(load_project(folder.root())), Catch::Contains("not UTF-8"));
    }
    SECTION("a pipe that nobody writes to hangs nothing") {
        std::filesystem::remove(folder.root() / "prompts/primary.md");
        REQUIRE(::mkfifo(folder.at("prompts/primary.md").c_str(), 0600) == 0);
        CHECK_THAT(
            only_problem(load_project(folder.root())), Catch::Contains("not a regular file")
        );
    }
}

TEST_CASE("config:/ takes the local twin first", "[dsl]") {
    const TempProject folder;
    folder.project(
        "version: 1\nproject: small\nprimary:\n  model: smart\n  system_prompt: "
        "config:/prompts/a.md\n"
    );
    folder.write(".volary/prompts/a.md", "a");
    CHECK(load_ok(folder).primary.system_prompt == folder.at(".volary/prompts/a.md"));
    folder.write(".volary/prompts/a.local.md", "b");
    CHECK(load_ok(folder).primary.system_prompt == folder.at(".volary/prompts/a.local.md"));
}

TEST_CASE("an overlay merges maps, replaces lists and removes with null", "[dsl]") {
    const TempProject folder;
    folder.project(kStory);
    folder.overlay(R"(primary:
  max_steps: null
  subagents:
    scraper:
      model: [local, fast]
      cage:
        net: { allow: ["host.volary:8080"] }
    deployer: null
interconnect: []
)");
    const auto project = load_ok(folder);
    CHECK_FALSE(project.primary.max_steps.has_value());
    REQUIRE(project.primary.subagents.size() == 1);
    const auto& scraper = project.primary.subagents[0];
    CHECK(scraper.models == std::vector<std::string>{"local", "fast"});
    CHECK(scraper.model == "local");
    REQUIRE(scraper.cage.net.size() == 1);
    CHECK(scraper.cage.net[0].kind == NetRule::Kind::host);
    CHECK(scraper.cage.limits.pids == 64U);
    CHECK(project.interconnect.empty());
}

TEST_CASE("an overlay's mistakes are told at the overlay's line", "[dsl]") {
    const TempProject folder;
    folder.project(kStory);
    folder.overlay(
        "description: x\nproject: other\nversion: 1\nprimary:\n  modle: null\n  max_steps: many\n"
    );
    const auto result = load_project(folder.root());
    REQUIRE(result.diagnostics.size() == 4);
    for (const auto& each : result.diagnostics)
        CHECK(each.file == folder.at(".volary/project.local.yaml"));
    CHECK(result.diagnostics[0].line == 2);
    CHECK(result.diagnostics[1].line == 3);
    CHECK(result.diagnostics[2].line == 5);
    CHECK(result.diagnostics[2].hint == "did you mean \"model\"?");
    CHECK(result.diagnostics[3].line == 6);
    CHECK(result.diagnostics[3].column == 14);
}

TEST_CASE("an empty overlay changes nothing", "[dsl]") {
    const TempProject folder;
    folder.project(kStory);
    const auto before = load_ok(folder);
    folder.overlay("# nothing yet\n");
    CHECK(load_ok(folder) == before);
}

TEST_CASE("a folder with .kaged alone loads, with both none does", "[dsl]") {
    const TempProject folder;
    folder.write(".kaged/project.yaml", kSmallest);
    CHECK(load_ok(folder).name == "small");
    CHECK(load_project(folder.root() / ".kaged/project.yaml").project.has_value());
    // A cage of this project could have made the other one.
    folder.project(kStory);
    CHECK_THAT(
        only_problem(load_project(folder.root())),
        Catch::Contains("there is a project file in .kaged/, too")
    );
}

TEST_CASE("a folder without a project file says what it lacks", "[dsl]") {
    const TempProject folder;
    const auto result = load_project(folder.root());
    REQUIRE(result.diagnostics.size() == 1);
    CHECK(
        result.diagnostics[0].text() ==
        folder.at(".volary/project.yaml") +
            ":1:1: there is no such file (a project is a folder with .volary/project.yaml)"
    );
    CHECK_THAT(
        only_problem(load_project(folder.root() / "nowhere")), Catch::Contains("No such file")
    );
}

TEST_CASE("cage_defaults are below every cage", "[dsl]") {
    const TempProject folder;
    folder.project(small_with(R"(  subagents:
    a: { system_prompt: project:/prompts/primary.md }
    b: { system_prompt: project:/prompts/primary.md, cage: { limits: { pids: 9, memory: null }, net: { allow: [] } } }
    c: { system_prompt: project:/prompts/primary.md, cage: disabled, env: { A: mine } }
cage_defaults:
  limits: { memory: 256M, pids: 5 }
  net: { allow: [example.com] }
  env: { A: default }
)"));
    const auto project = load_ok(folder);
    const auto& children = project.primary.subagents;
    CHECK(children[0].model == "smart");
    CHECK(children[0].cage.limits.pids == 5U);
    CHECK(children[0].cage.net.size() == 1);
    CHECK(children[0].cage.env.at("A") == "default");
    CHECK(children[1].cage.limits.pids == 9U);
    CHECK(children[1].cage.limits.memory == default_limits().memory);
    CHECK(children[1].cage.net.empty());
    CHECK(children[2].cage.disabled);
    CHECK(children[2].cage.env.at("A") == "mine");
}

std::string nested(std::size_t depth) {
    std::string out = "version: 1\nproject: deep\nprimary:\n";
    std::string indent = "  ";
    for (std::size_t i = 1; i <= depth; ++i) {
        if (i == 1) out += indent + "model: m\n";
        out += indent + "system_prompt: project:/prompts/primary.md\n";
        if (i == depth) break;
        out += indent + "subagents:\n" + indent + "  a:\n";
        indent += "    ";
    }
    return out;
}

TEST_CASE("bounds hold to the last one", "[dsl]") {
    const TempProject folder;
    SECTION("16 agents deep") {
        folder.project(nested(16));
        load_ok(folder);
        folder.project(nested(17));
        CHECK_THAT(
            only_problem(load_project(folder.root())), Catch::Contains("deeper than 16 levels")
        );
    }
    SECTION("64 subagents a level") {
        auto text = small_with("  subagents:\n");
        for (int i = 0; i < 64; ++i)
            text += fmt::format("    a{}: {{ runner: {{ exec: [x] }} }}\n", i);
        folder.project(text);
        CHECK(load_ok(folder).primary.subagents.size() == 64);
        folder.project(text + "    more: { runner: { exec: [x] } }\n");
        CHECK_THAT(
            only_problem(load_project(folder.root())),
            Catch::Contains("65 entries: expected at most 64")
        );
    }
    SECTION("280 characters of description") {
        std::string text;
        for (int i = 0; i < 280; ++i) text += "é";
        folder.project(std::string(kSmallest) + "description: " + text + "\n");
        load_ok(folder);
        folder.project(std::string(kSmallest) + "description: " + text + "é\n");
        CHECK_THAT(
            only_problem(load_project(folder.root())), Catch::Contains("expected at most 280")
        );
    }
    SECTION("2 to 64 characters of slug") {
        const auto with_name = [&](const std::string& name) {
            folder.project(
                "version: 1\nproject: " + name + "\nprimary: { runner: { exec: [x] } }\n"
            );
            return load_project(folder.root()).project.has_value();
        };
        CHECK(with_name("a1"));
        CHECK(with_name(std::string(64, 'a')));
        CHECK_FALSE(with_name(std::string(65, 'a')));
        CHECK_FALSE(with_name("a"));
        CHECK_FALSE(with_name("a-"));
        CHECK_FALSE(with_name("-a"));
        CHECK_FALSE(with_name("a_b"));
        CHECK_FALSE(with_name("Ab"));
    }
    SECTION("the rules of all cages together") {
        auto text = small_with("  subagents:\n");
        for (int i = 0; i < 20; ++i) {
            text += fmt::format("    a{}:\n      runner: {{ exec: [x] }}\n      subagents:\n", i);
            for (int j = 0; j < 20; ++j)
                text += fmt::format("        b{}: {{ runner: {{ exec: [x] }} }}\n", j);
        }
        text += "cage_defaults:\n  net:\n    allow:\n";
        for (int i = 0; i < 256; ++i) text += fmt::format("      - h{}.example:1\n", i);
        folder.project(text);
        const auto result = load_project(folder.root());
        REQUIRE_FALSE(result.diagnostics.empty());
        CHECK_THAT(result.diagnostics[0].message, Catch::Contains("32768 rules"));
    }
}

TEST_CASE("a policy file is one cage mapping", "[dsl]") {
    const TempProject folder;
    folder.write(
        "cage.yaml",
        "fs: [ { path: project:/data, mode: rw, at: /data } ]\nnet: { allow: [example.com] }\n"
    );
    const auto good = load_policy(folder.root() / "cage.yaml", folder.root());
    REQUIRE(good.policy.has_value());
    CHECK(good.policy->fs[0].target == "/data");
    CHECK(good.policy->net[0].port == 443);
    folder.write("cage.yaml", "");
    CHECK(load_policy(folder.root() / "cage.yaml", folder.root()).policy.has_value());
    folder.write("cage.yaml", "nett: {}\n");
    const auto bad = load_policy(folder.root() / "cage.yaml", folder.root());
    REQUIRE(bad.diagnostics.size() == 1);
    CHECK(
        bad.diagnostics[0].text() ==
        folder.at("cage.yaml") + ":1:1: nett: unknown key \"nett\" (did you mean \"net\"?)"
    );
    folder.write("cage.yaml", "disabled\n");
    CHECK_FALSE(load_policy(folder.root() / "cage.yaml", folder.root()).policy.has_value());
    CHECK(load_policy(folder.root() / "none.yaml", folder.root()).diagnostics.size() == 1);
}

TEST_CASE("origins name file and line, also of what is inherited", "[dsl]") {
    const TempProject folder;
    folder.project(kStory);
    folder.overlay("primary:\n  max_steps: 7\ncage_defaults: { limits: { files: 100 } }\n");
    const auto origin = nlohmann::json::parse(show_origin(folder.root()).json);
    const auto project_file = folder.at(".volary/project.yaml");
    const auto overlay_file = folder.at(".volary/project.local.yaml");
    CHECK(origin["primary.max_steps"]["value"] == 7);
    CHECK(origin["primary.max_steps"]["origin"] == overlay_file + ":2");
    CHECK(origin["primary.subagents.deployer.model"]["origin"] == project_file + ":6");
    CHECK(origin["primary.subagents.scraper.cage.limits.files"]["origin"] == overlay_file + ":3");
    CHECK(origin["primary.subagents.scraper.cage.limits.cpu"]["origin"] == project_file + ":19");
}

TEST_CASE("a cage in words has hosts, folders and limits", "[dsl]") {
    const TempProject folder;
    folder.project(kStory);
    const auto project = load_ok(folder);
    CHECK(
        cage_words_json(find_agent(project, "primary/scraper")->cage) ==
        R"({"disabled":false,"hosts":["bandcamp.com:443","*.bandcamp.com:443"],)"
        R"("folders":[{"path":"/workspace","mode":"ro"},{"path":"/workspace/data","mode":"rw"}],)"
        R"("limits":{"memory":"512M","cpu":1.0,"pids":64,"wall":"10m","disk":"1G","files":4096},)"
        R"("net":[{"rule":"bandcamp.com:443","private":false,"credential":""},)"
        R"({"rule":"*.bandcamp.com:443","private":false,"credential":""}],)"
        R"("seccomp":"default","state":"ephemeral","backend":"bwrap","devices":[],"ports":[]})"
    );
    const auto shown = nlohmann::json::parse(show_json(project));
    CHECK(shown["primary"]["subagents"]["deployer"]["runner"]["exec"][0] == "./deploy-prep.sh");
    CHECK(shown["interconnect"][0]["dedupe"]["by"][0] == "/url");
}

}  // namespace
}  // namespace volary::dsl
