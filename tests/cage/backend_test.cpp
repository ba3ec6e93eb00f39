// SPDX-License-Identifier: Apache-2.0
#include "cage/backend.hpp"

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "cage/firejail/plan.hpp"
#include "cage/host_facts.hpp"
#include "cage/init/options.hpp"
#include "cage/native/plan.hpp"
#include "cage/podman/plan.hpp"
#include "tests/cage/fake_host.hpp"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Catch::Contains;

namespace {

CompiledCage words(std::vector<std::string> list) {
    CompiledCage out;
    for (auto& word : list) out.options.push_back({wire::Argument::Kind::text, std::move(word), 0});
    return out;
}

std::string problem(const CompiledCage& compiled) {
    try {
        (void)to_native(compiled);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a policy that needs what its back end lacks is refused with names", "[backend]") {
    CagePolicy policy;
    policy.backend = CageBackend::firejail;
    policy.net = {{.host = "a.example", .text = "a.example:443", .origin = "project.yaml:12"}};
    policy.fs = {{"/p", "/p", FsMode::cow, "/workspace", "project.yaml:9"}};
    policy.ports = {{"web", 3000}};
    policy.require = {"notify", "memory", "landlock"};
    const auto missing = lacking(policy, CageBackend::firejail);
    CHECK(missing.size() == 4);
    CHECK_THAT(
        missing.at(1), Contains("project.yaml:12") && Contains("a.example:443") &&
                           Contains("network rules") && Contains("firejail")
    );
    CHECK_THROWS_WITH(
        require_backend(policy),
        Contains("project.yaml:9: fs[0]") && Contains("ports.web") && Contains("require \"notify\"")
    );
    policy.disabled = true;
    CHECK(lacking(policy, CageBackend::firejail).empty());
}

TEST_CASE("bwrap keeps every promise, and a plain policy needs no more than native", "[backend]") {
    for (const auto& row : guarantees()) {
        // The default keeps every promise; what another does not is in the table.
        INFO(row.name);
        CHECK(gives(CageBackend::bwrap, row.guarantee));
    }
    CHECK(lacking({}, CageBackend::native).empty());
    CHECK(lacking({}, CageBackend::bwrap).empty());
    CHECK(lacking({}, CageBackend::podman).empty());
}

TEST_CASE("firejail shows things in their places or not at all", "[backend]") {
    CagePolicy policy;
    policy.backend = CageBackend::firejail;
    policy.workspace = "/home/u/project";
    policy.fs = {
        {"/home/u/project/data", "/home/u/project", FsMode::rw, "/workspace/data"},
        {"/home/u/project", "/home/u/project", FsMode::ro, "/workspace"},
    };
    policy.limits.disk = default_limits().disk;
    CHECK(lacking(policy, CageBackend::firejail).empty());
    policy.fs[0].target = "/data";
    policy.fs.push_back({"", "", FsMode::tmp, "/workspace/build", "project.yaml:4"});
    policy.fs.push_back({"", "", FsMode::hide, "/workspace/.env", "project.yaml:5"});
    policy.origins["limits.disk"] = "project.yaml:7";
    const auto missing = lacking(policy, CageBackend::firejail);
    REQUIRE(missing.size() == 4);
    CHECK_THAT(missing[0], Contains("fs[0] \"/data\" needs \"other places\""));
    CHECK_THAT(missing[1], Contains("project.yaml:4: fs[2]"));
    CHECK_THAT(missing[3], Contains("project.yaml:7: limits.disk needs \"sized folders\""));
}

TEST_CASE("the documentation has the table of guarantees as it is", "[backend]") {
    std::ifstream in(std::string(VOLARY_SOURCE_ROOT) + "/docs/cage.md");
    std::stringstream text;
    text << in.rdbuf();
    for (const auto& row : guarantees()) {
        auto line = fmt::format("| {} | {} |", row.name, row.words);
        for (const bool given : row.given) line += given ? " yes |" : " no |";
        CHECK_THAT(text.str(), Contains(line + "\n"));
    }
}

TEST_CASE("the native plan is as accepted", "[backend]") {
    FakeHost host;
    auto policy = golden_policy(host);
    auto spec = spec_of(policy);
    spec.signals = true;
    const auto compiled = compile(spec, host);
    const auto native = to_native(compiled);
    check_golden("project.native", to_text(native));
    // Below what the agent may write, nothing is made.
    for (const auto& step : native.steps)
        if (step.target.starts_with("/workspace/")) CHECK(step.must_exist);
}

TEST_CASE("the podman plan is as accepted", "[backend]") {
    FakeHost host;
    auto spec = spec_of(golden_policy(host));
    spec.signals = true;
    const auto compiled = compile(spec, host);
    const auto plan = to_podman(compiled, {"/usr/bin/podman", "/usr/bin/crun"}, {20, 21});
    check_golden("project.podman", to_text(plan));
    // Podman passes on as many descriptors as the command names, and names none itself.
    std::size_t descriptors = 0;
    for (const auto& word : plan.command)
        if (word.kind != wire::Argument::Kind::text) ++descriptors;
    const auto passed = fmt::format("--preserve-fds={}", descriptors);
    CHECK(std::ranges::find(plan.podman, passed) != plan.podman.end());
    // The root stays open until podman seals it: a live grant may need to write there.
    for (const auto& step : plan.root.steps) {
        INFO(step.target);
        const bool root = step.kind == wire::RootStep::Kind::seal && step.target == "/";
        CHECK_FALSE(root);
        CHECK_FALSE(step.target.starts_with("/proc/"));
    }
}

TEST_CASE("volary-init understands what podman's command asks of it", "[backend]") {
    FakeHost host;
    const auto compiled = compile(spec_of(golden_policy(host)), host);
    const auto plan = to_podman(compiled, {"/usr/bin/podman", "/usr/bin/crun"}, {20});
    std::vector<std::string> words;
    for (const auto& word : plan.command)
        words.push_back(
            word.kind == wire::Argument::Kind::text ? word.text : std::to_string(words.size())
        );
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    InitOptions options;
    std::string problem;
    INFO(problem);
    REQUIRE(parse_init_options(static_cast<int>(argv.size()), argv.data(), options, problem));
    CHECK(options.lifeline == 2);
    CHECK(options.stdio[0] == 4);
    CHECK(options.stdio[2] == 8);
    CHECK(options.outer > 0);
    CHECK(options.environment > 0);
    CHECK(options.cgroups.size() == 1);
    CHECK(options.folder == "/workspace");
}

TEST_CASE("the firejail plan is as accepted", "[backend]") {
    FakeHost host;
    CagePolicy policy;
    policy.workspace = "/home/u/p";
    policy.fs = {{"/home/u/p/data", "/home/u/p", FsMode::ro, "/workspace/data", "project.yaml:3"}};
    for (const char* path :
         {"/home", "/home/u/p", "/home/u/p/data", "/home/u/p/.git/hooks", "/run"})
        host.kinds[path] = PathKind::folder;
    host.kinds["/home/u/p/.git"] = PathKind::folder;
    host.kinds["/home/u/p/.git/config"] = PathKind::file;
    auto spec = spec_of(policy);
    spec.notify = false;
    spec.signals = true;
    const auto compiled = compile(spec, host);
    const auto plan = to_firejail(spec, compiled, "/usr/bin/firejail", {20, 21}, 40, host);
    check_golden("project.firejail", to_text(plan));
    // Whatever a rule shows is compared with what was opened, and nothing else can be read.
    const auto count = [&](const char* word) {
        return std::ranges::count(plan.command, std::string(word), &wire::Argument::text);
    };
    CHECK(count("--same") == count("--held"));
    CHECK(count("--same") > 0);
    CHECK(count("--readable") == count("--same") + 10);
    for (const auto& word : plan.command) CHECK(word.text.find(kHome) == std::string::npos);
}

TEST_CASE("what firejail takes for a pattern is refused", "[backend]") {
    FakeHost host;
    host.kinds["/home/u/a*b"] = PathKind::folder;
    CagePolicy policy;
    policy.workspace = "/home/u/a*b";
    const auto spec = spec_of(policy);
    const auto compiled = compile(spec, host);
    CHECK_THROWS_WITH(
        to_firejail(spec, compiled, "/usr/bin/firejail", {}, 0, host),
        Contains("workspace: backend firejail cannot show \"/home/u/a*b\"")
    );
}

TEST_CASE("a firejail that cannot be used is told", "[backend]") {
    CHECK_THAT(find_firejail_problem("/bin/true"), Contains("setuid root"));
    CHECK_THAT(find_firejail_problem("/nowhere/firejail"), Contains("setuid root"));
    CHECK_THROWS_WITH(require_firejail(""), Contains("not installed"));
    CHECK_THROWS_WITH(require_root(CageBackend::firejail, 0), Contains("no Landlock"));
    CHECK_NOTHROW(require_root(CageBackend::native, 0));
    CHECK_THROWS_WITH(
        require_services(CageBackend::firejail, {"volary.internal"}), Contains("volary cage run")
    );
    CHECK_NOTHROW(require_services(CageBackend::firejail, {}));
    CHECK_NOTHROW(require_services(CageBackend::podman, {"volary.internal"}));
}

TEST_CASE("volary-init takes its words from a file, too", "[backend]") {
    std::string text;
    for (const std::string word :
         {"--sync", "7", "--held", "9", "--same", "/p", "--", "true", "x y"})
        text.append(word).push_back('\0');
    const auto path = std::filesystem::temp_directory_path() / "volary-words-test";
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    REQUIRE(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    std::filesystem::remove(path);
    std::string number = std::to_string(file.get());
    std::string name = "volary-init";
    std::string option = "--words";
    char* argv[] = {name.data(), option.data(), number.data()};
    InitOptions options;
    std::string problem;
    REQUIRE(parse_init_options(3, argv, options, problem));
    CHECK(options.sync == 7);
    CHECK(options.same == std::vector<std::pair<int, std::string>>{{9, "/p"}});
    REQUIRE(options.command.size() == 3);
    CHECK(std::string(options.command[1]) == "x y");
    text.pop_back();
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(text.size())) == 0);
    CHECK_FALSE(parse_init_options(3, argv, options, problem));
}

TEST_CASE("a podman that cannot build cages is told from one that can", "[backend]") {
    CHECK(podman_problem("podman version 4.3.1\n").empty());
    CHECK(podman_problem("podman version 5.0.0-rc1\n").empty());
    CHECK_THAT(podman_problem("podman version 3.4.4\n"), Contains("4.0") && Contains("3.4.4"));
    CHECK_THAT(podman_problem("Docker version 20.10\n"), Contains("Docker"));
    CHECK_FALSE(podman_problem("").empty());
}

TEST_CASE("what the native launcher has no step for is refused", "[backend]") {
    CHECK_THAT(
        problem(words({"--overlay-src", "/x", "--remount-ro", "/"})),
        Contains("native") && Contains("--overlay-src")
    );
    CHECK_THAT(problem(words({"--bind", "/x", "/y"})), Contains("without a descriptor"));
    CHECK_THAT(problem(words({"--proc", "/proc"})), Contains("root writable"));
    CHECK_THAT(problem(words({"--remount-ro", "/", "--perms"})), Contains("ends in"));
}
