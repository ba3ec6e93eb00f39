// SPDX-License-Identifier: Apache-2.0
#include "tests/cage/fake_host.hpp"

#include "base/error.hpp"

#include <cstdlib>
#include <fstream>

#include <catch2/catch.hpp>

namespace volary::cage::test {

CageSpec spec_of(const CagePolicy& policy) {
    CageSpec spec;
    spec.policy = policy;
    spec.argv = {"/bin/true", "x"};
    spec.init = "/opt/volary/volary-init";
    return spec;
}

CagePolicy project() {
    CagePolicy policy;
    policy.workspace = "/p";
    return policy;
}

CagePolicy golden_policy(FakeHost& host) {
    for (const char* folder : {"/p/.volary", "/p/.git", "/p/.git/hooks", "/p/site", "/p/data"})
        host.kinds[folder] = PathKind::folder;
    host.kinds["/p/.git/config"] = PathKind::file;
    host.kinds["/p/data/hidden"] = PathKind::file;
    auto policy = project();
    policy.env = {{"TOKEN", "a=b"}};
    policy.fs = {
        {"/p/site", "/p", FsMode::ro, "/workspace/site"},
        {"/p/data", "/p", FsMode::rw, "/data"},
        {"", "", FsMode::tmp, "/scratch"},
        {"", "", FsMode::hide, "/data/hidden"},
    };
    policy.net = {{NetRule::Kind::name, "a.example", 443, false, "", "a.example"}};
    return policy;
}

std::string refusal(const CageSpec& spec, const HostView& host) {
    try {
        (void)compile(spec, host);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

const Mount* find(const CompiledCage& cage, const std::string& target) {
    for (const auto& mount : cage.mounts)
        if (mount.target == target) return &mount;
    return nullptr;
}

void check_golden(const std::string& name, const std::string& text) {
    const std::string path = std::string(VOLARY_GOLDEN) + "/" + name;
    if (std::getenv("VOLARY_ACCEPT") != nullptr) std::ofstream(path) << text;
    std::ifstream in(path);
    const std::string golden{std::istreambuf_iterator<char>(in), {}};
    CHECK(text == golden);
}

}  // namespace volary::cage::test
