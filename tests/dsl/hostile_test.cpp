// SPDX-License-Identifier: Apache-2.0
// Measures time and peak memory of hostile files: 100 ms and 50 MB each, in a release build. The
// sanitizers' own cost is allowed for.
#include "dsl/load.hpp"
#include "tests/dsl/temp_project.hpp"

#include <chrono>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace volary::dsl {
namespace {

// The budget is that of a release build: an unoptimised one is some four times slower, and the
// sanitizers cost more again.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr auto kTime = std::chrono::milliseconds(2000);
constexpr long kMegabytes = 1000;
#elif defined(__OPTIMIZE__)
constexpr auto kTime = std::chrono::milliseconds(100);
constexpr long kMegabytes = 50;
#else
constexpr auto kTime = std::chrono::milliseconds(500);
constexpr long kMegabytes = 50;
#endif

/// Processor time of this process: other work of the machine does not count.
std::chrono::microseconds processor_time() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::microseconds(now.tv_nsec / 1000);
}

std::string repeat(std::string_view part, std::size_t bytes) {
    std::string out;
    while (out.size() + part.size() <= bytes) out += part;
    return out;
}

/// The same in lines that are short enough to be read.
std::string repeat_in_lines(std::string_view part, std::size_t bytes, std::string_view indent) {
    std::string out;
    while (out.size() + 4000 <= bytes) out += repeat(part, 3900) + "\n" + std::string(indent);
    return out;
}

constexpr std::size_t kMost = (std::size_t{1} << 20U) - 16;

std::string numbered(std::string_view format) {
    std::string out;
    for (int i = 0; out.size() < kMost - 100 && i < 39'000; ++i)
        out += fmt::format(fmt::runtime(format), i);
    return out;
}

std::string alias_bomb() {
    std::string out = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 30; ++i) {
        out += fmt::format(
            "a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i, i - 1
        );
    }
    return out;
}

/// A cage with as many entries as it may have, which `entry` writes.
std::string full_cage(std::size_t entries, const std::string& indent, const auto& entry) {
    std::string out;
    for (std::size_t i = 0; i < entries; ++i) out += fmt::format("{}- {}\n", indent, entry(i));
    return out;
}

/// Each child is held to its parent's cage: ten thousand rules, none alike.
std::string nested_rules() {
    auto out = std::string(kSmallest) + "  cage:\n    net:\n      allow:\n";
    out +=
        full_cage(256, "        ", [](std::size_t i) { return fmt::format("9.{}.0.0/17:1", i); });
    out += "  subagents:\n";
    for (std::size_t child = 0; child < 24; ++child) {
        out += fmt::format("    a{}:\n      runner: {{ exec: [x] }}\n", child);
        out += "      cage:\n        net:\n          allow:\n";
        out += full_cage(256, "            ", [&](std::size_t i) {
            return fmt::format("9.{}.{}.1:1", i, 128 + child);
        });
    }
    return out;
}

/// The same with folders in folders.
std::string nested_folders() {
    const auto entry = [](std::size_t i) {
        const auto folder = i % 3 == 0 ? "" : i % 3 == 1 ? "data" : "site";
        std::string at = "/workspace/data";
        for (std::size_t depth = 0; depth < i; ++depth) at += "/d";
        return fmt::format(
            "{{ path: 'project:/{}', mode: {}, at: '{}' }}", folder, i % 2 == 0 ? "ro" : "rw", at
        );
    };
    auto out = std::string(kSmallest) + "  cage:\n    fs:\n" + full_cage(64, "      ", entry);
    out += "  subagents:\n";
    for (int child = 0; child < 20; ++child) {
        out += fmt::format("    a{}:\n      runner: {{ exec: [x] }}\n", child);
        out += "      cage:\n        fs:\n" + full_cage(64, "          ", entry);
    }
    // Else this is nothing but a large project.
    return out + "colour: red\n";
}

std::vector<std::pair<std::string, std::string>> hostile_texts() {
    std::string stairs;
    for (std::size_t i = 0; stairs.size() < kMost - 3000; ++i)
        stairs += std::string(i, ' ') + "a:\n";
    return {
        {"alias bomb", alias_bomb()},
        {"one anchor", "a: &a [*a]\n"},
        {"merge key", "a: &a {b: 1}\nc: {<<: *a}\n"},
        {"deep lists", repeat("[", kMost)},
        {"deep lists in lines", repeat("[\n", 70'000)},
        {"deep maps", repeat("{a: ", kMost)},
        {"deep dashes", repeat("- ", kMost)},
        {"stairs", stairs},
        {"question marks", repeat("? ", kMost)},
        {"NUL", std::string("version: 1\0", 11)},
        {"only NUL", std::string(kMost, '\0')},
        {"not UTF-8", "a: \xC3\x28\n"},
        {"UTF-16", std::string(
                       "\xFF\xFE"
                       "a\0:\0",
                       6
                   )},
        {"not UTF-8 at the end", repeat("# x\n", 100'000) + "\xFF"},
        {"surrogate", "a: \"\\uD800\"\n"},
        {"escaped NUL", "a: \"\\0\"\n"},
        {"duplicate keys", repeat("a: 1\n", 100'000)},
        {"tabs", "a:\n\tb: 1\n"},
        {"documents", repeat("---\n", 100'000)},
        {"two documents", std::string(kSmallest) + "---\n" + std::string(kSmallest)},
        {"tags", "a: !!python/object/apply:os.system [id]\n"},
        {"directive", "%YAML 9.9\n---\na: 1\n"},
        {"many keys", numbered("k{}: v\n")},
        {"many lists", numbered("- [a, b, c{}]\n")},
        {"wide flow", "[" + repeat_in_lines("a,", kMost, "") + "]"},
        {"wide flow map", "{" + repeat_in_lines("? a,", kMost, "") + "}"},
        {"empty flow pairs", "{" + repeat_in_lines(":,", kMost, " ") + "}"},
        {"long scalar", "a: >\n  " + repeat_in_lines("xy ", kMost - 100'000, "  ")},
        {"long quoted", "a: \"" + repeat_in_lines("\\n", kMost - 100, "  ") + "\""},
        {"long plain", "a: " + repeat_in_lines("b c ", kMost - 100, "  ")},
        {"long line", "a: " + repeat("x", kMost - 100)},
        {"long key", repeat("x", 8000) + ": 1\n"},
        {"near misses", numbered("primar{}: 1\n")},
        {"empty", ""},
        {"scalar", "hello\n"},
        {"list", "- a\n"},
        {"many agents", std::string(kSmallest) + "  subagents:\n" +
                            numbered("    a{}: {{}}\n").substr(0, 150'000) + "\n"},
        {"nested rules", nested_rules()},
        {"nested folders", nested_folders()},
        {"100 MB", {}},
    };
}

long peak_megabytes() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

TEST_CASE("a hostile file is refused in time, in bounds and with a reason", "[dsl]") {
    for (const auto& [name, text] : hostile_texts()) {
        INFO(name);
        const TempProject folder;
        folder.project(text);
        if (name == "100 MB") {
            REQUIRE(::truncate(folder.at(".volary/project.yaml").c_str(), 100'000'000) == 0);
        }
        const auto before = peak_megabytes();
        const auto start = processor_time();
        const auto result = load_project(folder.root());
        const auto took =
            std::chrono::duration_cast<std::chrono::milliseconds>(processor_time() - start);
        INFO(took.count() << " ms");
        CHECK_FALSE(result.project.has_value());
        REQUIRE_FALSE(result.diagnostics.empty());
        CHECK_FALSE(result.diagnostics.front().message.empty());
        CHECK(took < kTime);
        CHECK(peak_megabytes() - before < kMegabytes);
    }
    // The texts themselves take some 30 MB.
    CHECK(peak_megabytes() < kMegabytes * 2);
}

TEST_CASE("a project file that is no file hangs nothing", "[dsl]") {
    const TempProject folder;
    std::filesystem::create_directories(folder.root() / ".volary/project.yaml");
    const auto result = load_project(folder.root());
    REQUIRE(result.diagnostics.size() == 1);
    CHECK(result.diagnostics[0].message == "expected a regular file");
}

TEST_CASE("a project file outside the project is not read", "[dsl]") {
    const TempProject folder;
    std::filesystem::create_directories(folder.root() / ".volary");
    std::filesystem::create_symlink("/etc/passwd", folder.root() / ".volary/project.yaml");
    const auto result = load_project(folder.root());
    REQUIRE(result.diagnostics.size() == 1);
    CHECK_THAT(result.diagnostics[0].message, Catch::Contains("leaves the project"));
}

}  // namespace
}  // namespace volary::dsl
