// SPDX-License-Identifier: Apache-2.0
#include "cage/backend.hpp"

#include "base/error.hpp"
#include "cage/native/plan.hpp"
#include "tests/cage/fake_host.hpp"

#include <fstream>
#include <sstream>

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
    policy.require = {"notify", "memory"};
    const auto missing = lacking(policy, CageBackend::firejail);
    CHECK(missing.size() == 6);
    CHECK_THAT(
        missing.at(2), Contains("project.yaml:12") && Contains("a.example:443") &&
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
}

TEST_CASE("a back end that this version does not build is never replaced by another", "[backend]") {
    for (const auto backend : {CageBackend::podman, CageBackend::firejail}) {
        CagePolicy policy;
        policy.backend = backend;
        CHECK_THROWS_WITH(require_backend(policy), Contains("cannot build"));
    }
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

TEST_CASE("what the native launcher has no step for is refused", "[backend]") {
    CHECK_THAT(
        problem(words({"--overlay-src", "/x", "--remount-ro", "/"})),
        Contains("native") && Contains("--overlay-src")
    );
    CHECK_THAT(problem(words({"--bind", "/x", "/y"})), Contains("without a descriptor"));
    CHECK_THAT(problem(words({"--proc", "/proc"})), Contains("root writable"));
    CHECK_THAT(problem(words({"--remount-ro", "/", "--perms"})), Contains("ends in"));
}
