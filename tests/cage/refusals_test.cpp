// SPDX-License-Identifier: Apache-2.0
// What a policy that cannot be enforced here is refused with, before anything is started: one
// golden file, for people read these sentences.
#include "base/ceiling.hpp"
#include "base/error.hpp"
#include "cage/backend.hpp"
#include "cage/mounts.hpp"
#include "cage/require.hpp"
#include "tests/cage/fake_host.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;

namespace {

std::string compiled(const CagePolicy& policy) {
    FakeHost host;
    host.kinds["/dev/log"] = PathKind::other;
    host.kinds["/dev/stdin"] = PathKind::link;
    CageSpec spec;
    spec.policy = policy;
    spec.argv = {"/bin/true"};
    spec.init = "/usr/lib/volary-init";
    return refusal(spec, host);
}

std::string opened(const FsRule& rule) {
    try {
        (void)open_sources({{rule.source, "", rule_name("fs", 0, rule)}});
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

std::string on_bare_host(const CagePolicy& policy) {
    return fmt::format("{}", fmt::join(missing_layers(policy, {}), "\n"));
}

std::string by_firejail(const CagePolicy& policy) {
    return fmt::format("{}", fmt::join(lacking(policy, CageBackend::firejail), "\n"));
}

std::string by_ceiling(const CagePolicy& policy) {
    CageCeiling ceiling;
    ceiling.seccomp_add = std::vector<std::string>{};
    ceiling.limits.pids = 10;
    return fmt::format("{}", fmt::join(exceeding(policy, ceiling), "\n"));
}

/// A policy in which everything that can be refused was written in a line of its own.
CagePolicy told() {
    auto policy = project();
    policy.workspace_writable = false;
    policy.origins = {
        {"require[0]", "project.yaml:20"},     {"require[1]", "project.yaml:21"},
        {"require[2]", "project.yaml:22"},     {"devices[0]", "project.yaml:30"},
        {"seccomp.add[0]", "project.yaml:40"}, {"seccomp.remove[0]", "project.yaml:41"},
        {"net.ports[0]", "project.yaml:50"},   {"state", "project.yaml:60"},
        {"limits.disk", "project.yaml:70"},    {"limits.pids", "project.yaml:71"},
    };
    return policy;
}

}  // namespace

TEST_CASE("what cannot be enforced is refused with its line, its key and what to do", "[refusal]") {
    std::string text;
    const auto note = [&](const char* what, const std::string& said) {
        text += fmt::format("# {}\n{}\n", what, said.empty() ? "(not refused)" : said);
    };
    auto policy = told();
    policy.require = {"landlock", "notify", "memory"};
    note("a host with nothing", on_bare_host(policy));
    policy = told();
    policy.require = {"disk"};
    policy.state = CageState::kept;
    note("a kept home and require: [disk]", on_bare_host(policy));
    for (const char* device : {"/dev/absent", "/dev/log", "/dev/stdin", "/etc/passwd"}) {
        policy = told();
        policy.devices = {device};
        note(device, compiled(policy));
    }
    for (const char* call : {"ptrase", "mount"}) {
        policy = told();
        policy.seccomp_add = {call};
        note("seccomp.add", compiled(policy));
    }
    policy = told();
    policy.seccomp_remove = {"execve"};
    note("seccomp.remove", compiled(policy));
    policy = told();
    policy.fs = {{"/p/data", "/p", FsMode::rw, "/proc/data", "project.yaml:10"}};
    note("a place that is the cage's own", compiled(policy));
    policy.fs[0].source = "/nowhere-at-all";
    note("a source that is not there", opened(policy.fs[0]));
    policy = told();
    policy.require = {"notify"};
    policy.devices = {"/dev/kvm"};
    policy.seccomp_add = {"ptrace"};
    policy.ports = {{"web", 3000}};
    policy.state = CageState::kept;
    policy.limits.disk = ByteCount{1};
    note("a back end that gives less", by_firejail(policy));
    policy.limits.pids = 11;
    note("the operator's ceiling", by_ceiling(policy));
    check_golden("refusals", text);
}
