// SPDX-License-Identifier: Apache-2.0
#include "base/text_diff.hpp"

#include "base/protected.hpp"

#include <catch2/catch.hpp>

using namespace volary;

TEST_CASE("a diff shows the lines that differ with three around them", "[diff]") {
    const std::string old_text = "1\n2\n3\n4\n5\n6\n7\n8\n";
    const std::string new_text = "1\n2\n3\n4\nfive\n6\n7\n8\n";
    CHECK(
        unified_diff(old_text, new_text, "a", "b") ==
        "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
    );
    CHECK(unified_diff(old_text, old_text, "a", "b").empty());
    CHECK(unified_diff("", "x\n", "/dev/null", "b") == "--- /dev/null\n+++ b\n@@ -0,0 +1 @@\n+x\n");
    CHECK(unified_diff("x\n", "", "a", "/dev/null") == "--- a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n");
    CHECK(
        unified_diff("x", "x\n", "a", "b") ==
        "--- a\n+++ b\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n"
    );
}

TEST_CASE("changes far apart are hunks of their own, near ones one", "[diff]") {
    std::string old_text;
    for (int i = 0; i < 30; ++i) old_text += std::to_string(i) + "\n";
    auto far = old_text;
    far.replace(far.find("2\n"), 1, "two");
    far.replace(far.find("28\n"), 2, "end");
    const auto text = unified_diff(old_text, far, "a", "b");
    CHECK(text.find("@@ -1,6 +1,6 @@") != std::string::npos);
    CHECK(text.find("@@ -26,5 +26,5 @@") != std::string::npos);
    auto near = old_text;
    near.replace(near.find("12\n"), 3, "");
    near.insert(near.find("15\n"), "new\n");
    const auto one = unified_diff(old_text, near, "a", "b");
    CHECK(one.find("@@ -10,9 +10,9 @@") != std::string::npos);
    CHECK(one.find("@@", one.find("@@ -10,9") + 17) == std::string::npos);
}

TEST_CASE("what differs everywhere is one block", "[diff]") {
    std::string old_text;
    std::string new_text;
    for (int i = 0; i < 3000; ++i) {
        old_text += "a" + std::to_string(i) + "\n";
        new_text += "b" + std::to_string(i) + "\n";
    }
    const auto text = unified_diff(old_text, new_text, "a", "b");
    CHECK(text.starts_with("--- a\n+++ b\n@@ -1,3000 +1,3000 @@\n-a0\n-a1\n"));
    CHECK(text.ends_with("+b2999\n"));
}

TEST_CASE("protected paths are known with what is below and above them", "[protected]") {
    for (const char* path :
         {".volary", ".volary/project.yaml", ".git/hooks/pre-commit", ".git/config", ".bashrc",
          ".vscode/tasks.json", ".git/modules/a/hooks/x", ".git/modules/a/b/config",
          ".git/modules/a/modules/b/hooks", ".git"})
        CHECK(is_protected(path));
    for (const char* path :
         {"src", ".git/objects/ab", ".gitignore", ".volary2", ".vscode", ".vscode/other.json",
          ".git/modules/a/objects/x", "sub/.bashrc"})
        CHECK_FALSE(is_protected(path));
    CHECK(holds_protected(".git"));
    CHECK(holds_protected(".vscode"));
    CHECK(holds_protected(".git/modules/a"));
    CHECK_FALSE(holds_protected("src"));
}
