// SPDX-License-Identifier: Apache-2.0
// What the compiler makes of cow entries, devices, protected paths and `require`.
#include "base/error.hpp"
#include "cage/compiler.hpp"
#include "cage/explain.hpp"
#include "cage/layers.hpp"
#include "cage/output_pace.hpp"
#include "cage/require.hpp"
#include "tests/cage/fake_host.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using Catch::Contains;
using test::FakeHost;
using test::find;
using test::refusal;

namespace {

CageSpec spec_of(std::vector<FsRule> rules) {
    auto policy = test::project();
    policy.fs = std::move(rules);
    return test::spec_of(policy);
}

}  // namespace

TEST_CASE("a cow entry is a bind whose source the shim layers", "[compiler]") {
    FakeHost host;
    host.kinds["/p/.git"] = host.kinds["/p/.git/hooks"] = PathKind::folder;
    const auto cage = compile(spec_of({{"/p", "/p", FsMode::cow, "/workspace"}}), host);
    REQUIRE(cage.overlays.size() == 1);
    CHECK(cage.overlays[0].target == "/workspace");
    CHECK(cage.sources[cage.overlays[0].source - 3U].path == "/p");
    CHECK(find(cage, "/workspace")->kind == Mount::Kind::overlay);
    CHECK(find(cage, "/workspace/.git/hooks")->kind == Mount::Kind::bind_ro);
    // A folder between is not bound: that would be the host's own, writable.
    CHECK(find(cage, "/workspace/.git") == nullptr);
    CHECK_THAT(to_text(cage.command), Contains("--writable\n/workspace\n"));
    CHECK(cage.unheld.empty());
}

TEST_CASE("what an earlier cage put in the place of a mount is seen", "[compiler]") {
    FakeHost host;
    host.kinds["/p/.git"] = host.kinds["/p/.git/hooks"] = PathKind::folder;
    host.kinds["/p/site"] = PathKind::folder;
    auto spec = spec_of({{"/p", "/p", FsMode::cow, "/workspace"}});
    spec.layers_folder = "/l";
    const auto upper = "/l/" + layer_name("/workspace") + "/upper";
    host.kinds[upper + "/.git"] = PathKind::link;
    CHECK(find(compile(spec, host), "/workspace/.git/hooks") == nullptr);
    spec.policy.fs.push_back({"", "", FsMode::tmp, "/workspace/site"});
    CHECK(refusal(spec, host).empty());
    host.kinds[upper + "/site"] = PathKind::link;
    CHECK_THAT(refusal(spec, host), Contains("fs[1]") && Contains("drop that change first"));
}

TEST_CASE("protected paths below folders are held with the folders between", "[compiler]") {
    FakeHost host;
    for (const char* path :
         {"/p/.vscode", "/p/.git", "/p/.git/modules", "/p/.git/modules/lib",
          "/p/.git/modules/lib/a", "/p/.git/modules/lib/a/hooks"})
        host.kinds[path] = PathKind::folder;
    host.kinds["/p/.vscode/tasks.json"] = PathKind::file;
    host.kinds["/p/.git/modules/lib/a/HEAD"] = PathKind::file;
    host.kinds["/p/.bashrc"] = PathKind::file;
    host.kinds["/p/.profile"] = PathKind::link;
    const auto cage = compile(spec_of({}), host);
    for (const char* path :
         {"/workspace/.vscode/tasks.json", "/workspace/.git/modules/lib/a/hooks",
          "/workspace/.bashrc"}) {
        REQUIRE(find(cage, path) != nullptr);
        CHECK(find(cage, path)->kind == Mount::Kind::bind_ro);
    }
    for (const char* path : {"/workspace/.vscode", "/workspace/.git/modules/lib/a"}) {
        REQUIRE(find(cage, path) != nullptr);
        CHECK(find(cage, path)->kind == Mount::Kind::bind_rw);
    }
    const auto has = [&](const char* path) {
        return std::find(cage.unheld.begin(), cage.unheld.end(), path) != cage.unheld.end();
    };
    CHECK(has("/p/.profile"));
    CHECK(has("/p/.vscode/settings.json"));
    CHECK(has("/p/.git/config"));
    CHECK_FALSE(has("/p/.bashrc"));
    CHECK_THAT(explain_path(spec_of({}).policy, "/workspace/.zshrc", host), Contains("not there"));
}

TEST_CASE("a rule of the project is not undone by what protects", "[compiler]") {
    FakeHost host;
    host.kinds["/p/.git"] = host.kinds["/p/.git/hooks"] = PathKind::folder;
    const auto cage = compile(spec_of({{"/p/.git", "/p", FsMode::ro, "/workspace/.git"}}), host);
    CHECK(find(cage, "/workspace/.git")->kind == Mount::Kind::bind_ro);
    CHECK_THAT(
        refusal(spec_of({{"/p/.git/hooks", "/p", FsMode::rw, "/h", "project.yaml:7"}}), host),
        Contains("fs[0] (project.yaml:7)") && Contains("protected")
    );
    CHECK_THAT(
        refusal(spec_of({{"/p/.git/hooks", "/p", FsMode::cow, "/h"}}), host), Contains("protected")
    );
}

TEST_CASE("devices are bound as devices, and only devices", "[compiler]") {
    FakeHost host;
    host.kinds["/dev/fuse"] = PathKind::device;
    host.kinds["/dev/log"] = PathKind::other;
    host.kinds["/dev/stdin"] = PathKind::link;
    const auto with = [](const char* device) {
        auto spec = spec_of({});
        spec.policy.devices = {device};
        return spec;
    };
    const auto text = to_text(compile(with("/dev/fuse"), host).options);
    CHECK_THAT(text, Contains("--dev-bind\n/proc/self/fd/{fd:3}\n/dev/fuse\n"));
    CHECK(text.find("/dev/fuse") < text.find("--remount-ro\n/dev\n"));
    CHECK_THAT(refusal(with("/dev/absent"), host), Contains("devices[0]") && Contains("not on"));
    CHECK_THAT(refusal(with("/dev/log"), host), Contains("no device node"));
    CHECK_THAT(refusal(with("/dev/stdin"), host), Contains("symbolic link"));
    CHECK_THAT(refusal(with("/dev/../etc/passwd"), host), Contains("absolute path in /dev"));
    CHECK_THAT(refusal(with("/etc/passwd"), host), Contains("absolute path in /dev"));
    CHECK_THAT(refusal(with("/dev/pts/0"), host), Contains("belongs to the cage"));
}

TEST_CASE("what /proc tells about the host is covered where it is there", "[compiler]") {
    FakeHost host;
    host.kinds["/proc/keys"] = host.kinds["/proc/cmdline"] = PathKind::file;
    host.kinds["/proc/sys/kernel/random/boot_id"] = PathKind::file;
    host.kinds["/proc/acpi"] = PathKind::folder;
    auto spec = spec_of({});
    spec.boot_id = "0000";
    const auto cage = compile(spec, host);
    const auto text = to_text(cage.options);
    CHECK_THAT(text, Contains("--ro-bind\n/proc/self/fd/{fd:3}\n/proc/cmdline\n"));
    CHECK_THAT(text, Contains("--tmpfs\n/proc/acpi\n--remount-ro\n/proc/acpi\n"));
    CHECK_THAT(text, Contains("/proc/sys/kernel/random/boot_id\n"));
}

TEST_CASE("a kept home is bound, and told", "[compiler]") {
    FakeHost host;
    auto spec = spec_of({});
    spec.kept_home = "/state/homes/a";
    const auto cage = compile(spec, host);
    CHECK(find(cage, "/home/agent")->kind == Mount::Kind::bind_rw);
    CHECK(find(cage, "/home/agent")->source == "/state/homes/a");
}

TEST_CASE("a required layer that is missing is named with what to do", "[require]") {
    CagePolicy policy;
    policy.workspace = "/p";
    policy.require = {"landlock", "memory", "swap", "disk", "seccomp", "network", "nonsense"};
    HostLayers host;
    const auto missing = missing_layers(policy, host);
    REQUIRE(missing.size() == 5);
    CHECK_THAT(missing[0], Contains("require[0]: landlock:") && Contains("lsm=landlock"));
    CHECK_THAT(missing[1], Contains("memory:") && Contains("Delegate=yes"));
    CHECK_THAT(missing[3], Contains("disk:"));
    CHECK_THAT(missing[4], Contains("no such layer"));
    host.landlock_abi = 5;
    host.controllers = {"memory", "swap"};
    policy.require = {"landlock", "memory", "swap", "cgroup", "disk"};
    policy.workspace_writable = false;
    CHECK(missing_layers(policy, host).empty());
    policy.state = CageState::kept;
    CHECK(missing_layers(policy, host).size() == 1);
}

TEST_CASE("the pace of output is kept over bursts", "[limits]") {
    OutputPace pace(ByteCount{1000});
    CHECK(pace.step() == 100);
    const std::chrono::steady_clock::time_point start{std::chrono::seconds(100)};
    CHECK(pace.moved(100, start) == start + std::chrono::milliseconds(100));
    CHECK(pace.moved(100, start) == start + std::chrono::milliseconds(200));
    // Nothing is saved up while nobody writes.
    const auto later = start + std::chrono::seconds(10);
    CHECK(pace.moved(50, later) == later + std::chrono::milliseconds(50));
    CHECK(OutputPace(ByteCount{1}).step() == 1);
    CHECK(OutputPace(ByteCount{1U << 30U}).step() == 65536);
}
