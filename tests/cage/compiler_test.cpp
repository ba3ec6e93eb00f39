// SPDX-License-Identifier: Apache-2.0
#include "cage/compiler.hpp"

#include "base/error.hpp"
#include "cage/explain.hpp"
#include "cage/init/options.hpp"
#include "tests/cage/fake_host.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Catch::Contains;

TEST_CASE("the command line of bwrap is as accepted", "[compiler]") {
    FakeHost host;
    const auto policy = golden_policy(host);
    auto spec = spec_of(policy);
    spec.signals = true;
    const auto compiled = compile(spec, host);
    check_golden("project.argv", to_text(compiled.options) + "--\n" + to_text(compiled.command));
    check_golden("project.explain", explain_text(policy, host));
}

TEST_CASE("without binding by descriptor, paths of /proc/self/fd are used", "[compiler]") {
    FakeHost host;
    auto spec = spec_of(project());
    spec.bind_by_fd = false;
    const auto text = to_text(compile(spec, host).options);
    CHECK_THAT(text, Contains("--ro-bind\n/proc/self/fd/{fd:3}\n"));
    CHECK_THAT(text, !Contains("-bind-fd"));
}

TEST_CASE("a terminal keeps the session, everything else gets its own", "[compiler]") {
    FakeHost host;
    auto spec = spec_of(project());
    CHECK_THAT(to_text(compile(spec, host).options), Contains("--new-session\n"));
    spec.keep_session = true;
    CHECK_THAT(to_text(compile(spec, host).options), !Contains("--new-session\n"));
}

TEST_CASE("protected paths are read-only in every writable bind that shows them", "[compiler]") {
    FakeHost host;
    host.kinds["/p/.volary"] = PathKind::folder;
    host.kinds["/p/.git"] = PathKind::folder;
    host.kinds["/p/.git/hooks"] = PathKind::folder;
    auto policy = project();
    policy.fs = {{"/p", "/p", FsMode::rw, "/again"}};
    const auto cage = compile(spec_of(policy), host);
    for (const char* target : {"/workspace/.volary", "/workspace/.git/hooks", "/again/.volary"}) {
        REQUIRE(find(cage, target) != nullptr);
        CHECK(find(cage, target)->kind == Mount::Kind::bind_ro);
        CHECK(find(cage, target)->guarded);
    }
    // Pinned: a folder that is not a mount point could be renamed and made anew.
    REQUIRE(find(cage, "/workspace/.git") != nullptr);
    CHECK(find(cage, "/workspace/.git")->kind == Mount::Kind::bind_rw);
    CHECK(find(cage, "/workspace/.git/config") == nullptr);
}

TEST_CASE("the pointer file of a git worktree is protected", "[compiler]") {
    FakeHost host;
    host.kinds["/p/.git"] = PathKind::file;
    const auto cage = compile(spec_of(project()), host);
    REQUIRE(find(cage, "/workspace/.git") != nullptr);
    CHECK(find(cage, "/workspace/.git")->kind == Mount::Kind::bind_ro);
}

TEST_CASE("targets that cannot be are refused with the rule's name", "[compiler]") {
    FakeHost host;
    host.kinds["/p/link"] = PathKind::link;
    host.kinds["/p/.volary"] = PathKind::folder;
    const auto with = [&](FsRule rule) {
        auto policy = project();
        policy.fs = {std::move(rule)};
        return refusal(spec_of(policy), host);
    };
    for (const char* target : {"relative", "/a/../b", "/a//b", "", "/a/", "/./a"})
        CHECK_THAT(with({"/p", "/p", FsMode::ro, target}), Contains("fs[0]"));
    for (const char* target : {"/", "/proc", "/proc/sys", "/dev/x", "/sys", "/.volary/init"})
        CHECK_THAT(with({"/p", "/p", FsMode::ro, target}), Contains("belongs to the cage itself"));
    CHECK_THAT(with({"/p", "/p", FsMode::ro, "/workspace/link/x"}), Contains("symbolic link"));
    CHECK_THAT(
        with({"/p", "/p", FsMode::ro, "/workspace/absent"}), Contains("create \"/p/absent\"")
    );
    CHECK_THAT(with({"/p", "/p", FsMode::ro, "/usr/absent"}), Contains("create \"/usr/absent\""));
    CHECK_THAT(with({"/p/.volary/x", "/p", FsMode::rw, "/x"}), Contains("protected"));
    CHECK(with({"", "", FsMode::hide, "/workspace/absent"}).empty());
}

TEST_CASE("the environment is minimal and the policy's own", "[compiler]") {
    auto policy = project();
    policy.env = {{"A", "1"}, {"HOME", "/workspace"}};
    const auto env = make_environment(policy);
    CHECK(env.size() == 5);
    CHECK(std::find(env.begin(), env.end(), "HOME=/workspace") != env.end());
    policy.env = {{"A=B", "1"}};
    CHECK_THROWS_WITH(make_environment(policy), Contains("A=B"));
}

TEST_CASE("private folders share the disk limit", "[compiler]") {
    FakeHost host;
    auto policy = project();
    policy.limits.disk = ByteCount{8 << 20};
    const auto text = to_text(compile(spec_of(policy), host).options);
    CHECK_THAT(text, Contains("--size\n4194304\n--tmpfs\n/tmp\n"));
    CHECK_THAT(text, Contains("--size\n4194304\n--tmpfs\n/home/agent\n"));
}

TEST_CASE("explain says why a path is or is not there", "[compiler]") {
    FakeHost host;
    auto policy = project();
    CHECK_THAT(explain_path(policy, "/workspace/a", host), Contains("writable") && Contains("/p"));
    CHECK_THAT(explain_path(policy, "/etc/shadow", host), Contains("absent"));
    CHECK_THAT(explain_path(policy, "/usr/bin/cc", host), Contains("read-only"));
    CHECK_THAT(explain_path(policy, "/tmp/x", host), Contains("private folder"));
    CHECK_THAT(explain_path(policy, "/p", host), Contains("at /workspace"));
    CHECK_THAT(explain_path(policy, "/proc/1", host), Contains("the cage itself"));
    CHECK_THAT(explain_json(policy, host), Contains(R"("target":"/workspace","kind":"rw")"));
}

TEST_CASE("init reads what the compiler writes", "[compiler]") {
    FakeHost host;
    auto words = to_text(compile(spec_of(project()), host).command);
    std::vector<std::string> list;
    for (std::size_t at = 0; at < words.size(); at = words.find('\n', at) + 1)
        list.push_back(words.substr(at, words.find('\n', at) - at));
    for (auto& word : list)
        if (word == "{sync}") word = "9";
    std::vector<char*> argv;
    for (auto& word : list) argv.push_back(word.data());
    InitOptions options;
    std::string problem;
    INFO(problem);
    REQUIRE(parse_init_options(static_cast<int>(argv.size()), argv.data(), options, problem));
    CHECK(options.sync == 9);
    CHECK(options.files == 4096);
    CHECK(
        options.writable ==
        std::vector<std::string>{"/dev/shm", "/tmp", "/workspace", "/home/agent"}
    );
    REQUIRE(options.command.size() == 3);
    CHECK(std::string(options.command[0]) == "/bin/true");
}
