// SPDX-License-Identifier: Apache-2.0
#include "dsl/edit.hpp"

#include "dsl/load.hpp"
#include "dsl/net_rule.hpp"
#include "tests/dsl/temp_project.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace volary::dsl {
namespace {

NetRule net(std::string_view text) { return *parse_net_rule(text); }

FsRule folder_rule(std::string_view relative, FsMode mode, std::string at = {}) {
    FsRule rule;
    rule.root = "/srv/site";
    rule.source = fmt::format("/srv/site/{}", relative);
    rule.mode = mode;
    rule.target = at.empty() ? fmt::format("/workspace/{}", relative) : std::move(at);
    return rule;
}

std::string head(std::string_view rest) {
    return fmt::format(
        "version: 1\nproject: ab\nprimary:\n  runner: {{ exec: [x] }}   # runs\n{}", rest
    );
}

/// The lines that an edit adds and removes, with their signs.
std::string changes(const FileEdit& edit) {
    std::string out;
    std::string_view diff = edit.diff;
    while (!diff.empty()) {
        const auto line = diff.substr(0, diff.find('\n'));
        diff.remove_prefix(line.size() + 1);
        const bool header = line.starts_with("---") || line.starts_with("+++");
        if (!header && (line.starts_with('+') || line.starts_with('-')))
            out += std::string(line) + "\n";
    }
    return out;
}

std::string added(
    const std::string& text, const NetRule& rule, std::string_view agent = "primary"
) {
    auto edit = add_net_rule(text, agent, rule);
    return edit ? changes(*edit) : "error: " + edit.error();
}

std::string added(const std::string& text, const FsRule& rule, std::string_view agent = "primary") {
    auto edit = add_fs_rule(text, agent, rule);
    return edit ? changes(*edit) : "error: " + edit.error();
}

TEST_CASE("a rule goes into a list as the list is written", "[dsl]") {
    const auto rule = net("new.com:443");
    SECTION("flow, on one line") {
        CHECK(
            added(head("  cage: { net: { allow: [\"a.com:443\", b.com] } }  # mine\n"), rule) ==
            "-  cage: { net: { allow: [\"a.com:443\", b.com] } }  # mine\n"
            "+  cage: { net: { allow: [\"a.com:443\", b.com, \"new.com:443\"] } }  # mine\n"
        );
    }
    SECTION("flow, empty") {
        CHECK(
            added(head("  cage: { net: { allow: [ ] } }\n"), rule) ==
            "-  cage: { net: { allow: [ ] } }\n"
            "+  cage: { net: { allow: [\"new.com:443\"] } }\n"
        );
    }
    SECTION("flow, with a comma at its end") {
        CHECK(
            added(head("  cage: { net: { allow: [a.com, ] } }\n"), rule) ==
            "-  cage: { net: { allow: [a.com, ] } }\n"
            "+  cage: { net: { allow: [a.com, \"new.com:443\", ] } }\n"
        );
    }
    SECTION("flow, a line each") {
        const auto text = head(
            "  cage:\n    net:\n      allow: [\n        a.com,   # first\n"
            "        { to: b.com, private: true }   # second\n        ]\n"
        );
        CHECK(
            added(text, rule) ==
            "-        { to: b.com, private: true }   # second\n"
            "+        { to: b.com, private: true },   # second\n"
            "+        \"new.com:443\"\n"
        );
    }
    SECTION("flow, a line each and a comma at each end") {
        const auto text =
            head("  cage:\n    net:\n      allow: [\n        a.com,   # a, b\n        ]\n");
        CHECK(added(text, rule) == "+        \"new.com:443\",\n");
    }
    SECTION("flow, the end behind the last") {
        const auto text = head("  cage:\n    net:\n      allow: [a.com,\n              b.com]\n");
        CHECK(
            added(text, rule) ==
            "-              b.com]\n+              b.com,\n+              \"new.com:443\"]\n"
        );
    }
    SECTION("block") {
        const auto text = head(
            "  cage:\n    net:\n      allow:\n        # shops\n        - a.com   # one\n"
            "        -   to: b.com\n            private: true   # two\n"
            "        # more to come\n  max_steps: 5\n"
        );
        CHECK(added(text, rule) == "+        - \"new.com:443\"\n");
        const auto edit = add_net_rule(text, "primary", rule);
        CHECK(
            edit->diff ==
            "--- a/.volary/project.yaml\n+++ b/.volary/project.yaml\n@@ -9,5 +9,6 @@\n"
            "         - a.com   # one\n         -   to: b.com\n"
            "             private: true   # two\n+        - \"new.com:443\"\n"
            "         # more to come\n   max_steps: 5\n"
        );
    }
    SECTION("block, at the key's own column and at the end of a file without a line break") {
        CHECK(
            added(head("  cage:\n    net:\n      allow:\n      - a.com"), rule) ==
            "-      - a.com\n+      - a.com\n+      - \"new.com:443\"\n"
        );
    }
}

TEST_CASE("keys that are missing are made with the file's indentation", "[dsl]") {
    const auto rule = net("new.com:443");
    SECTION("no cage: before the subagents") {
        const auto text = head("  max_steps: 5  # few\n  # Those below.\n  subagents: {}\n");
        CHECK(added(text, rule) == "+  cage:\n+    net: { allow: [\"new.com:443\"] }\n");
        CHECK(
            add_net_rule(text, "primary", rule)->text ==
            head("  max_steps: 5  # few\n  cage:\n    net: { allow: [\"new.com:443\"] }\n"
                 "  # Those below.\n  subagents: {}\n")
        );
    }
    SECTION("four columns a level") {
        const std::string text =
            "version: 1\nproject: ab\nprimary:\n    runner: { exec: [x] }\n    subagents:\n"
            "        child:\n            runner: { exec: [x] }\n";
        CHECK(
            added(text, rule, "primary/child") ==
            "+            cage:\n+                net: { allow: [\"new.com:443\"] }\n"
        );
    }
    SECTION("a cage without net") {
        CHECK(
            added(head("  cage:\n    limits: { pids: 5 }\n  max_steps: 5\n"), rule) ==
            "+    net: { allow: [\"new.com:443\"] }\n"
        );
        CHECK(
            added(head("  cage: { limits: { pids: 5 } }\n"), rule) ==
            "-  cage: { limits: { pids: 5 } }\n"
            "+  cage: { limits: { pids: 5 }, net: { allow: [\"new.com:443\"] } }\n"
        );
        CHECK(
            added(head("  cage: {}\n"), rule) ==
            "-  cage: {}\n+  cage: { net: { allow: [\"new.com:443\"] } }\n"
        );
    }
    SECTION("a net without allow") {
        CHECK(
            added(head("  cage:\n    net:\n      ports: [ { name: a, port: 1 } ]\n"), rule) ==
            "+      allow: [\"new.com:443\"]\n"
        );
    }
    SECTION("an agent in flow style") {
        CHECK(
            added(
                head("  subagents: { child: { runner: { exec: [x] } } }\n"), rule, "primary/child"
            ) ==
            "-  subagents: { child: { runner: { exec: [x] } } }\n"
            "+  subagents: { child: { runner: { exec: [x] }, cage: { net: { allow: "
            "[\"new.com:443\"] } } } }\n"
        );
    }
    SECTION("a list that was taken from the defaults is copied first") {
        const auto text = head(
            "cage_defaults:\n  net:\n    allow:\n      - a.com\n"
            "      - { to: 'b.com:80', methods: [GET] }\n"
        );
        CHECK(
            added(text, rule) ==
            "+  cage:\n+    net:\n+      allow:\n+        - a.com\n"
            "+        - { to: \"b.com:80\", methods: [\"GET\"] }\n+        - \"new.com:443\"\n"
        );
    }
}

TEST_CASE("a folder is added without taking the workspace away", "[dsl]") {
    const auto rule = folder_rule("data", FsMode::rw);
    CHECK(
        added(head("  cage: { fs: [ { path: project:/site, mode: ro } ] }\n"), rule) ==
        "-  cage: { fs: [ { path: project:/site, mode: ro } ] }\n"
        "+  cage: { fs: [ { path: project:/site, mode: ro }, { path: project:/data, mode: rw } ] }"
        "\n"
    );
    CHECK(
        added(head(""), folder_rule("a b/\"c\"", FsMode::ro, "/x y")) ==
        "+  cage:\n+    fs:\n+      - { path: project:/, mode: rw }\n"
        "+      - { path: \"project:/a b/\\\"c\\\"\", mode: ro, at: \"/x y\" }\n"
    );
    // Without a list of its own an agent has the list of the one above.
    CHECK(
        added(
            head("  cage: { fs: [] }\n  subagents:\n    child:\n      runner: { exec: [x] }\n"),
            rule, "primary/child"
        ) == "+      cage:\n+        fs: [{ path: project:/data, mode: rw }]\n"
    );
    FsRule scratch;
    scratch.mode = FsMode::tmp;
    scratch.target = "/scratch";
    CHECK(
        added(head("  cage: { fs: [] }\n"), scratch) ==
        "-  cage: { fs: [] }\n+  cage: { fs: [{ mode: tmp, at: /scratch }] }\n"
    );
}

TEST_CASE("a rule that is there is widened where it stands", "[dsl]") {
    auto open = net("a.com:443");
    open.allow_private = true;
    CHECK(
        added(head("  cage:\n    net:\n      allow:\n      - a.com   # shop\n"), open) ==
        "-      - a.com   # shop\n+      - { to: \"a.com:443\", private: true }   # shop\n"
    );
    CHECK(
        added(head("  cage: { net: { allow: [ { to: a.com, sni: b.com } ] } }\n"), open) ==
        "-  cage: { net: { allow: [ { to: a.com, sni: b.com } ] } }\n"
        "+  cage: { net: { allow: [ { to: a.com, sni: b.com, private: true } ] } }\n"
    );
    CHECK(
        added(
            head("  cage:\n    net:\n      allow:\n      - to: a.com\n        private: false # no\n"
            ),
            open
        ) == "-        private: false # no\n+        private: true # no\n"
    );
    CHECK(
        added(
            head("  cage: { fs: [ { path: project:/data, mode: ro } ] }\n"),
            folder_rule("data", FsMode::rw)
        ) ==
        "-  cage: { fs: [ { path: project:/data, mode: ro } ] }\n"
        "+  cage: { fs: [ { path: project:/data, mode: rw } ] }\n"
    );
}

TEST_CASE("what cannot be added is refused with the reason", "[dsl]") {
    const auto rule = net("a.com:443");
    auto keyed = rule;
    keyed.credential = "key";
    CHECK(
        added(head("  cage: { net: { allow: [A.com] } }\n"), rule) ==
        "error: it is there already, in line 5"
    );
    CHECK_THAT(
        added(head("  cage: { net: { allow: [ { to: a.com, private: true } ] } }\n"), keyed),
        Catch::Contains("under other conditions")
    );
    CHECK_THAT(added(head("  cage: disabled\n"), rule), Catch::Contains("has no cage"));
    CHECK_THAT(added(head("  cage: { disabled: true }\n"), rule), Catch::Contains("has no cage"));
    CHECK(added(head(""), rule, "primary/x") == "error: the file has no agent \"primary/x\"");
    CHECK(added(head(""), rule, "primaryx") == "error: the file has no agent \"primaryx\"");
    CHECK(added(head(""), rule, "").starts_with("error: "));
    CHECK_THAT(
        added(head("  cage: &a { net: { allow: [] } }\n"), rule), Catch::Contains("anchors")
    );
    CHECK_THAT(
        added(head("  cage: { net: { allow: [ # none\n    ] } }\n"), rule),
        Catch::Contains("comment")
    );
    CHECK_THAT(added(head("  cage: { net: null }\n"), rule), Catch::Contains("expected a map"));
    CHECK_THAT(
        added(
            head("  cage:\n    net:\n      allow:\n        - |\n          a.com\n"), net("b.com")
        ),
        Catch::StartsWith("error: ")
    );
    CHECK_THAT(added("a: [", rule), Catch::StartsWith("error: line 2: not YAML"));
    CHECK_THAT(added(head("colour: red\n"), rule), Catch::Contains("would be refused"));
    auto outside = folder_rule("data", FsMode::ro);
    outside.source = "/srv/site2/data";
    CHECK(added(head(""), outside) == "error: \"/srv/site2/data\" is outside of the project");
}

TEST_CASE("line breaks of another system stay", "[dsl]") {
    std::string text;
    for (const char c : head("  cage:\n    net:\n      allow:\n        - a.com\n"))
        text += c == '\n' ? std::string("\r\n") : std::string(1, c);
    const auto edit = add_net_rule(text, "primary", net("b.com:443"));
    REQUIRE(edit);
    CHECK(edit->text == text + "        - \"b.com:443\"\r\n");
}

TEST_CASE("an edit of the manual's example loads and is the rule alone", "[dsl]") {
    const TempProject folder;
    folder.project(kStory);
    const auto before = load_project(folder.root());
    REQUIRE(before.project);
    auto rule = net("api.example.com:443");
    rule.credential = "example";
    rule.methods = {"GET"};
    rule.paths = {"/v1/*"};
    for (const auto* agent : {"primary", "primary/scraper", "primary/deployer"}) {
        const auto edit = add_net_rule(kStory, agent, rule);
        if (!edit) FAIL(edit.error());
        const auto after = load_project_text(folder.root(), edit->text);
        for (const auto& each : after.diagnostics) UNSCOPED_INFO(each.text());
        // The primary's word bounds its children, who have rules of their own.
        if (agent == std::string("primary")) {
            CHECK(after.diagnostics.size() == 3);
            continue;
        }
        REQUIRE(after.project);
        auto wanted = find_agent(*before.project, agent)->cage.net;
        auto got = find_agent(*after.project, agent)->cage.net;
        REQUIRE(got.size() == wanted.size() + 1);
        CHECK(got.back().credential == "example");
        CHECK(got.back().paths == rule.paths);
        got.pop_back();
        CHECK(got == wanted);
    }
}

}  // namespace
}  // namespace volary::dsl
