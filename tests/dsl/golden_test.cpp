// SPDX-License-Identifier: Apache-2.0
#include "dsl/load.hpp"
#include "tests/dsl/temp_project.hpp"

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace volary::dsl {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
    const std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
}

/// What an operator would see, with the temporary folder cut off.
std::string told(const TempProject& folder) {
    std::string out;
    for (auto each : load_project(folder.root()).diagnostics) {
        each.file = fs::path(each.file).filename().string();
        out += each.text() + "\n";
    }
    return out.empty() ? "ok\n" : out;
}

// Each NAME.yaml (with NAME.local.yaml as its overlay) has a NAME.txt with every diagnostic.
TEST_CASE("diagnostics read as the golden files say", "[dsl]") {
    const fs::path golden = fs::path(VOLARY_SOURCE_ROOT) / "tests/dsl/golden";
    std::set<fs::path> files;
    for (const auto& entry : fs::directory_iterator(golden)) {
        const auto name = entry.path().filename().string();
        if (name.ends_with(".yaml") && !name.ends_with(".local.yaml")) files.insert(entry.path());
    }
    REQUIRE(files.size() >= 8);
    for (const auto& file : files) {
        INFO(file.filename().string());
        const TempProject folder;
        folder.project(read_file(file));
        auto beside = file;
        if (fs::exists(beside.replace_extension(".local.yaml"))) folder.overlay(read_file(beside));
        auto expected = file;
        expected.replace_extension(".txt");
        const auto text = told(folder);
        if (std::getenv("VOLARY_ACCEPT") != nullptr) std::ofstream(expected) << text;
        CHECK(text == read_file(expected));
        // A line that ends in "#!" has a problem, and no other line has one.
        std::set<int> marked;
        const auto lines = lines_of(read_file(file));
        for (std::size_t i = 0; i < lines.size(); ++i) {
            if (lines[i].ends_with("#!")) marked.insert(static_cast<int>(i) + 1);
        }
        std::set<int> reported;
        for (const auto& each : load_project(folder.root()).diagnostics) {
            if (each.file.ends_with("project.yaml")) reported.insert(each.line);
        }
        if (!marked.empty()) CHECK(reported == marked);
    }
}

std::size_t indent_of(const std::string& line) {
    const auto at = line.find_first_not_of(' ');
    return at == std::string::npos ? 0 : at;
}

/// Lines of kStory before which a key may be inserted at their indentation.
std::vector<std::size_t> places(const std::vector<std::string>& lines) {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto& line = lines[i];
        if (line.empty() || line[indent_of(line)] == '-') continue;
        out.push_back(i);
    }
    return out;
}

TEST_CASE("every mistake of a file is told, each at its own place", "[dsl]") {
    const auto lines = lines_of(std::string(kStory));
    const auto at = places(lines);
    REQUIRE(at.size() > 20);
    // Every subset of three residues: one mistake, some, all of them.
    for (std::size_t step = 1; step <= at.size(); ++step) {
        const TempProject folder;
        std::string text;
        std::map<int, int> expected;
        int number = 0;
        for (std::size_t i = 0; i < lines.size(); ++i) {
            const auto place = std::ranges::find(at, i);
            if (place != at.end() && static_cast<std::size_t>(place - at.begin()) % step == 0) {
                const auto indent = indent_of(lines[i]);
                text += fmt::format("{}zzz{}: []\n", std::string(indent, ' '), i);
                // An unknown key is told at the key; among subagents it is a bad agent: at its
                // value.
                const bool agent = lines[i] == "    scraper:" || lines[i] == "    deployer:";
                const auto key_length = fmt::format("zzz{}: ", i).size();
                expected[++number] = static_cast<int>(indent + 1 + (agent ? key_length : 0));
            }
            text += lines[i] + "\n";
            ++number;
        }
        folder.project(text);
        std::map<int, int> reported;
        const auto result = load_project(folder.root());
        for (const auto& each : result.diagnostics) reported[each.line] = each.column;
        CHECK(result.diagnostics.size() == expected.size());
        CHECK(reported == expected);
    }
}

TEST_CASE("an endless list of mistakes is cut off and says so", "[dsl]") {
    const TempProject folder;
    std::string text(kSmallest);
    for (int i = 0; i < 2000; ++i) text += fmt::format("zzz{}: 1\n", i);
    folder.project(text);
    const auto result = load_project(folder.root());
    REQUIRE(result.diagnostics.size() == 500);
    CHECK(result.diagnostics.back().hint == "and 1500 more problems");
}

TEST_CASE("a diagnostic is one printable line", "[dsl]") {
    const TempProject folder;
    folder.project(
        "version: 1\nproject: \"a\\x1b[31m\\nb\"\n\"\\x07key\": 1\nprimary: " +
        std::string(3000, 'a') + "\n"
    );
    const auto result = load_project(folder.root());
    CHECK(result.diagnostics.size() == 3);
    for (const auto& each : result.diagnostics) {
        const auto line = each.text();
        CHECK(line.size() < 2000);
        for (const char c : line) CHECK(static_cast<unsigned char>(c) >= 0x20);
    }
}

}  // namespace
}  // namespace volary::dsl
