// SPDX-License-Identifier: Apache-2.0
#include "dsl/load.hpp"
#include "tests/dsl/temp_project.hpp"

#include <algorithm>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::dsl {
namespace {

Project load_ok(const TempProject& folder, const CageCeiling* ceiling = nullptr) {
    auto result = load_project(folder.root(), ceiling);
    for (const auto& each : result.diagnostics) UNSCOPED_INFO(each.text());
    REQUIRE(result.project.has_value());
    return std::move(*result.project);
}

std::vector<std::string> told(const TempProject& folder, const CageCeiling* ceiling = nullptr) {
    std::vector<std::string> out;
    for (const auto& each : load_project(folder.root(), ceiling).diagnostics)
        out.push_back(fmt::format("{}: {}: {}", each.line, each.path, each.message));
    return out;
}

ByteCount mib(std::uint64_t count) { return ByteCount{count << 20U}; }

/// A primary with `cage`, and below it `child` as the cage of primary/child.
void family(const TempProject& folder, std::string_view cage, std::string_view child) {
    std::string text(kSmallest);
    if (!cage.empty()) text += fmt::format("  cage: {}\n", cage);
    text += "  subagents:\n    child:\n      runner: { exec: [x] }\n";
    if (!child.empty()) text += fmt::format("      cage: {}\n", child);
    folder.project(text);
}

const CagePolicy& child_of(const Project& project) {
    return project.primary.subagents.front().cage;
}

/// "rw /workspace, hide /workspace/site"
std::string folders_of(const CagePolicy& cage) {
    std::string out = cage.workspace_writable ? "rw /workspace" : "ro /workspace";
    for (const auto& rule : cage.fs)
        out += fmt::format(", {} {}", to_string(rule.mode), rule.target);
    return out;
}

TEST_CASE("every key of a cage becomes its policy", "[dsl]") {
    const TempProject folder;
    folder.write("cage.yaml", R"(fs:
  - { path: project:/data, mode: cow }
net:
  allow:
    - { to: "api.example.com:443", credential: example, methods: [GET, POST], paths: [/v1/*] }
    - { to: "[::ffff:10.0.0.1]:80", private: true }
  ports:
    - { name: web, port: 3000, public: true }
    - { name: db, port: 5432 }
limits: { memory: 1G, swap: 64M, cpu: 2, pids: 9, wall: 1h, disk: 2G, files: 99, output: 1M }
seccomp: { add: [bpf, perf_event_open], remove: [ptrace] }
state: kept
backend: native
require: [landlock, cgroup]
devices: [/dev/kvm]
env: { A: b }
)");
    auto result = load_policy(folder.root() / "cage.yaml", folder.root());
    for (const auto& each : result.diagnostics) UNSCOPED_INFO(each.text());
    REQUIRE(result.policy);
    const auto& cage = *result.policy;
    const auto at = [&](int line) { return fmt::format("{}:{}", folder.at("cage.yaml"), line); };
    CHECK_FALSE(cage.workspace_writable);
    CHECK(
        cage.fs ==
        std::vector<FsRule>{
            {folder.at("data"), folder.root().string(), FsMode::cow, "/workspace/data", at(2)}
        }
    );
    REQUIRE(cage.net.size() == 2);
    CHECK(cage.net[0].credential == "example");
    CHECK(cage.net[0].methods == std::vector<std::string>{"GET", "POST"});
    CHECK(cage.net[0].paths == std::vector<std::string>{"/v1/*"});
    CHECK(cage.net[0].origin == at(5));
    CHECK(cage.net[1].allow_private);
    CHECK(cage.ports == std::vector<PublishedPort>{{"web", 3000, true}, {"db", 5432, false}});
    CHECK(cage.limits.swap == mib(64));
    CHECK(cage.limits.output == mib(1));
    CHECK(cage.limits.wall == std::chrono::hours(1));
    CHECK(cage.seccomp == SeccompProfile::standard);
    CHECK(cage.seccomp_add == std::vector<std::string>{"bpf", "perf_event_open"});
    CHECK(cage.seccomp_remove == std::vector<std::string>{"ptrace"});
    CHECK(cage.origins.at("seccomp.add[1]") == at(11));
    CHECK(cage.state == CageState::kept);
    CHECK(cage.backend == CageBackend::native);
    CHECK(cage.require == std::vector<std::string>{"landlock", "cgroup"});
    CHECK(cage.origins.at("require[0]") == at(14));
    CHECK(cage.devices == std::vector<std::string>{"/dev/kvm"});
    CHECK(cage.origins.at("devices[0]") == at(15));
    CHECK(
        nlohmann::json::parse(cage_words_json(cage)) ==
        nlohmann::json::parse(R"({"disabled":false,"hosts":["api.example.com:443",
          "[::ffff:10.0.0.1]:80"],"folders":[{"path":"/workspace","mode":"ro"},
          {"path":"/workspace/data","mode":"cow"}],"limits":{"memory":"1G","swap":"64M","cpu":2.0,
          "pids":9,"wall":"1h","disk":"2G","files":99,"output":"1M"},
          "net":[{"rule":"api.example.com:443","private":false,"credential":"example",
          "methods":["GET","POST"],"paths":["/v1/*"]},
          {"rule":"[::ffff:10.0.0.1]:80","private":true,"credential":""}],
          "seccomp":"default","state":"kept","backend":"native","devices":["/dev/kvm"],
          "ports":[{"name":"web","port":3000,"public":true},
          {"name":"db","port":5432,"public":false}],
          "seccomp_add":["bpf","perf_event_open"],"seccomp_remove":["ptrace"],
          "require":["landlock","cgroup"]})")
    );
}

TEST_CASE("a policy file alone is neither detached nor disabled", "[dsl]") {
    const TempProject folder;
    folder.write("cage.yaml", "detached: true\ndisabled: true\n");
    const auto result = load_policy(folder.root() / "cage.yaml", folder.root());
    CHECK_FALSE(result.policy);
    CHECK(result.diagnostics.size() == 2);
}

TEST_CASE("a layer over the workspace keeps the project file as it is", "[dsl]") {
    const TempProject folder;
    folder.write(".git/config", "[core]");
    folder.project(std::string(kSmallest) + "  cage: { fs: [ { path: project:/, mode: cow } ] }\n");
    CHECK(
        folders_of(load_ok(folder).primary.cage) ==
        "ro /workspace, cow /workspace, ro /workspace/.volary, ro /workspace/.git/config"
    );
}

TEST_CASE("the overlay changes single keys of a cage", "[dsl]") {
    const TempProject folder;
    folder.project(std::string(kSmallest) + R"(  cage:
    net: { allow: [a.com], ports: [ { name: web, port: 80 } ] }
    limits: { memory: 1G, swap: 1G }
    seccomp: { add: [bpf], remove: [ptrace] }
    devices: [/dev/kvm]
    state: kept
)");
    folder.overlay(R"(primary:
  cage:
    net: { allow: [b.com] }
    limits: { swap: null }
    seccomp: { remove: [keyctl] }
    devices: null
    state: ephemeral
    backend: native
)");
    const auto cage = load_ok(folder).primary.cage;
    REQUIRE(cage.net.size() == 1);
    CHECK(cage.net[0].host == "b.com");
    CHECK(cage.net[0].origin == folder.at(".volary/project.local.yaml") + ":3");
    CHECK(cage.ports.size() == 1);
    CHECK(cage.limits.memory == mib(1024));
    CHECK_FALSE(cage.limits.swap);
    CHECK(cage.seccomp_add == std::vector<std::string>{"bpf"});
    CHECK(cage.seccomp_remove == std::vector<std::string>{"keyctl"});
    CHECK(cage.devices.empty());
    CHECK(cage.state == CageState::ephemeral);
    CHECK(cage.backend == CageBackend::native);
}

TEST_CASE("a key that the parent does not mention is not bounded", "[dsl]") {
    const TempProject folder;
    const auto* parent = GENERATE("", "{ env: { A: b } }", "{ limits: { pids: 64 } }");
    family(
        folder, parent,
        "{ fs: [ { path: project:/, mode: rw } ], net: { allow: [a.com] }, seccomp: relaxed, "
        "limits: { memory: 8G, wall: 2h }, devices: [/dev/kvm] }"
    );
    CHECK(child_of(load_ok(folder)).limits.memory == mib(8192));
}

TEST_CASE("what a child merely gets by default is narrowed to its parent's", "[dsl]") {
    const TempProject folder;
    family(
        folder,
        "{ fs: [ { path: project:/data, mode: rw }, { path: project:/site, mode: hide } ], "
        "limits: { memory: 512M, wall: 10m, cpu: 1, swap: 1M }, seccomp: { remove: [ptrace] }, "
        "require: [landlock] }",
        ""
    );
    const auto project = load_ok(folder);
    const auto& cage = child_of(project);
    CHECK(folders_of(cage) == "ro /workspace, rw /workspace/data, hide /workspace/site");
    CHECK(cage.limits.memory == mib(512));
    CHECK(cage.limits.wall == std::chrono::minutes(10));
    CHECK(cage.limits.cpu == 1.0);
    CHECK_FALSE(cage.limits.swap);
    CHECK(cage.limits.pids == default_limits().pids);
    CHECK(cage.seccomp_remove == std::vector<std::string>{"ptrace"});
    CHECK(cage.require == std::vector<std::string>{"landlock"});
}

TEST_CASE("cage_defaults are narrowed to the parent's own words, too", "[dsl]") {
    const TempProject folder;
    family(
        folder,
        "{ net: { allow: [a.com] }, limits: { memory: 1G }, devices: [], seccomp: default }", ""
    );
    folder.write(
        ".volary/project.local.yaml",
        "cage_defaults: { net: { allow: [a.com, b.com] }, limits: { memory: 4G }, "
        "devices: [/dev/kvm], seccomp: relaxed }\n"
    );
    const auto project = load_ok(folder);
    const auto& cage = child_of(project);
    REQUIRE(cage.net.size() == 1);
    CHECK(cage.net[0].host == "a.com");
    CHECK(cage.limits.memory == mib(1024));
    CHECK(cage.devices.empty());
    CHECK(cage.seccomp == SeccompProfile::standard);
}

TEST_CASE("a child that names a folder does not see what its parent has hidden in it", "[dsl]") {
    const TempProject folder;
    folder.write("site/secret/key", "x");
    family(
        folder,
        "{ fs: [ { path: project:/, mode: rw }, { path: project:/site/secret, mode: hide }, "
        "{ path: project:/deploy, mode: ro } ] }",
        "{ fs: [ { path: project:/, mode: rw }, { path: project:/site, mode: ro, at: /site } ] }"
    );
    CHECK(
        folders_of(child_of(load_ok(folder))) ==
        "rw /workspace, ro /site, ro /workspace/.volary, ro /workspace/deploy, "
        "hide /site/secret, hide /workspace/site/secret"
    );
}

TEST_CASE("no other place, link or layer shows a child what its parent has not", "[dsl]") {
    const TempProject folder;
    folder.write("site/secret/key", "x");
    std::filesystem::create_directory_symlink("site/secret", folder.root() / "door");
    const auto* entry = GENERATE(
        "{ path: project:/site/secret, mode: ro }", "{ path: project:/site/secret/key, mode: ro }",
        "{ path: project:/site/secret, mode: cow, at: /x }", "{ path: project:/door, mode: ro }",
        "{ path: project:/door/key, mode: ro, at: /x }", "{ path: project:/data, mode: rw }",
        "{ path: project:/data, mode: rw, at: /x }"
    );
    family(
        folder, "{ fs: [ { path: project:/site/secret, mode: hide } ] }",
        fmt::format("{{ fs: [ {} ] }}", entry)
    );
    CAPTURE(entry);
    const auto problems = told(folder);
    REQUIRE(problems.size() == 1);
    CHECK_THAT(problems[0], Catch::StartsWith("10: primary.subagents.child.cage.fs[0]: "));
    CHECK_THAT(problems[0], Catch::Contains("\"primary\""));
}

TEST_CASE("a link is taken for what it leads to when the file is read", "[dsl]") {
    const TempProject folder;
    folder.write("releases/5/page", "x");
    std::filesystem::create_directory_symlink("releases/5", folder.root() / "current");
    // A protected path that is a link cannot be held by a mount.
    std::filesystem::create_symlink("releases/5/page", folder.root() / ".envrc");
    folder.project(std::string(kSmallest) + R"(  cage:
    fs: [ { path: project:/, mode: rw }, { path: project:/current, mode: ro, at: /c } ]
)");
    const auto cage = load_ok(folder).primary.cage;
    REQUIRE(cage.fs.size() == 2);
    CHECK(cage.fs[0].source == folder.root() / "releases/5");
    CHECK(cage.fs[0].target == "/c");
    CHECK(cage.fs[1].target == "/workspace/.volary");
}

TEST_CASE("a place that the parent has elsewhere is the child's, too", "[dsl]") {
    const TempProject folder;
    family(
        folder,
        "{ fs: [ { path: project:/site, mode: hide }, { path: project:/site, mode: rw, at: /s } ] "
        "}",
        "{ fs: [ { path: project:/site, mode: rw } ] }"
    );
    load_ok(folder);
}

TEST_CASE("a parent without the project's root shows its children none", "[dsl]") {
    const TempProject folder;
    const auto* parent = "{ fs: [ { path: project:/site, mode: ro, at: /workspace } ] }";
    family(folder, parent, "");
    CHECK(folders_of(child_of(load_ok(folder))) == "ro /workspace, ro /workspace");
    family(folder, parent, "{ fs: [] }");
    CHECK(
        told(folder) ==
        std::vector<std::string>{"10: primary.subagents.child.cage.fs: \"the project's root\" is "
                                 "hidden from \"primary\""}
    );
}

TEST_CASE("a detached cage exceeds its parent's and bounds those below it", "[dsl]") {
    const TempProject folder;
    folder.project(std::string(kSmallest) + R"(  cage: { limits: { memory: 1G, pids: 9 } }
  subagents:
    free:
      runner: { exec: [x] }
      cage: { detached: true, limits: { memory: 4G } }
      subagents:
        below:
          runner: { exec: [x] }
          cage: { limits: { memory: 4G, pids: 5000 } }
)");
    const auto project = load_ok(folder);
    const auto* free = find_agent(project, "primary/free");
    CHECK(free->cage.detached);
    CHECK(free->cage.limits.memory == mib(4096));
    CHECK(free->cage.limits.pids == default_limits().pids);
    CHECK(find_agent(project, "primary/free/below")->cage.limits.pids == 5000U);
}

TEST_CASE("a project that exceeds the host's ceiling is refused at its place", "[dsl]") {
    const TempProject folder;
    CageCeiling ceiling;
    ceiling.limits.memory = mib(1024);
    ceiling.limits.wall = std::chrono::hours(1);
    ceiling.disabled_allowed = false;
    ceiling.net.emplace();
    family(folder, "{ limits: { memory: 2G }, net: { allow: [a.com] } }", "disabled");
    folder.overlay("primary: { cage: { devices: [/dev/kvm], detached: true } }\n");
    CHECK(
        told(folder, &ceiling) ==
        std::vector<std::string>{
            "6: primary.cage.limits.memory: 2G: the operator's ceiling is 1G",
            "6: primary.cage.net.allow[0]: \"a.com\" is not in the net of the operator's ceiling",
            "10: primary.subagents.child.cage: \"primary\" has a cage, and this agent would have "
            "none",
            "10: primary.subagents.child.cage: the operator's ceiling has no agent without a cage",
            "1: primary.cage.devices[0]: \"/dev/kvm\": the operator's ceiling allows no device",
        }
    );
}

TEST_CASE("limits that a project leaves open take the ceiling's", "[dsl]") {
    const TempProject folder;
    CageCeiling ceiling;
    ceiling.limits.memory = mib(1024);
    ceiling.limits.wall = std::chrono::hours(1);
    ceiling.limits.pids = 100'000;
    folder.project(kSmallest);
    const auto limits = load_ok(folder, &ceiling).primary.cage.limits;
    CHECK(limits.memory == mib(1024));
    CHECK(limits.wall == std::chrono::hours(1));
    CHECK(limits.pids == default_limits().pids);
}

}  // namespace
}  // namespace volary::dsl
