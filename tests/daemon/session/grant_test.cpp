// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/grant.hpp"

#include "base/error.hpp"
#include "daemon/session/project_file.hpp"
#include "tests/daemon/session/fixture.hpp"

#include <filesystem>
#include <fstream>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::session;

namespace {

Grant net_grant(const std::string& agent, GrantScope scope) {
    Grant grant;
    grant.agent = agent;
    grant.rule = make_net_grant("evil.example:8080", false);
    grant.scope = scope;
    return grant;
}

Json body_of(const Event& event) { return Json::parse(event.body); }

/// A project on disk with a protected folder, a plain one, and links.
class Folder {
public:
    Folder() {
        char name[] = "/tmp/volary-grant-XXXXXX";
        root = std::filesystem::canonical(::mkdtemp(name)).string();
        for (const auto* folder : {"/.volary", "/.git/hooks", "/data/deep"})
            std::filesystem::create_directories(root + folder);
        std::filesystem::create_directory_symlink("/etc", root + "/out");
        std::filesystem::create_directory_symlink(".volary", root + "/plain");
        put("version: 1\n");
        project.root = root;
        project.file = file();
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(root); }

    std::string file() const { return root + "/.volary/project.yaml"; }
    void put(const std::string& text) const { std::ofstream(file()) << text; }
    std::string text() const {
        std::ifstream in(file());
        return {std::istreambuf_iterator<char>(in), {}};
    }
    std::size_t files() const {
        const std::filesystem::directory_iterator all(root + "/.volary");
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }

    std::string root;
    dsl::Project project;
};

}  // namespace

TEST_CASE("a grant for once names the live cages of its agent and ends with them", "[grant]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto scraper = bench.invoke(primary, "scraper");
    const auto decision = bench.act(net_grant("primary/scraper", GrantScope::once));
    const auto apply = effects_of<ApplyGrant>(decision);
    REQUIRE(apply.size() == 1);
    CHECK(apply[0].cages == std::vector<CageId>{CageId("cage_2")});
    CHECK(apply[0].granted == decision.answer.seq);
    const auto body = body_of(bench.log.back());
    CHECK(bench.log.back().kind == "cage.granted");
    CHECK(body.at("by") == "operator:test");
    CHECK(body.at("applied") == "live");
    CHECK(body.at("rule") == "evil.example:8080");
    CHECK(body.at("invocation") == scraper.str());

    bench.finish(scraper);
    CHECK(refused([&] {
              bench.act(net_grant("primary/scraper", GrantScope::once));
          }) == Errc::conflict);
    // It does not come back with the next cage.
    const auto next = bench.act(InvokeSubagent{primary, "scraper", "again"});
    CHECK(effects_of<StartAgent>(next).at(0).grants.empty());
}

TEST_CASE("a grant for the session is given to every later cage of that agent alone", "[grant]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto decision = bench.act(net_grant("primary/scraper", GrantScope::session));
    CHECK(body_of(bench.log.back()).at("applied") == "next_start");
    CHECK(effects_of<ApplyGrant>(decision).at(0).cages.empty());
    for (int i = 0; i < 2; ++i) {
        const auto next = bench.act(InvokeSubagent{primary, "scraper", "task"});
        const auto grants = effects_of<StartAgent>(next).at(0).grants;
        REQUIRE(grants.size() == 1);
        CHECK(std::get<NetRule>(grants[0]).host == "evil.example");
        CHECK(std::get<NetRule>(grants[0]).port == 8080);
        // As after a restart.
        bench.state = from_projection(to_projection(bench.state));
    }
    const auto other = bench.act(InvokeSubagent{primary, "deployer", "task"});
    CHECK(effects_of<StartAgent>(other).at(0).grants.empty());
}

TEST_CASE("a grant that could not be applied is told and does not come back", "[grant]") {
    Bench bench;
    const auto primary = bench.begin();
    const auto seq = bench.act(net_grant("primary/scraper", GrantScope::session)).answer.seq;
    bench.act(GrantFailed{seq, "none", "the disk is full"}, "daemon");
    CHECK(bench.state.find_grant(seq)->applied == "none");
    CHECK(bench.state.find_grant(seq)->reason == "the disk is full");
    const auto next = bench.act(InvokeSubagent{primary, "scraper", "task"});
    CHECK(effects_of<StartAgent>(next).at(0).grants.empty());
    // Of a grant that nobody knows there is nothing to say.
    CHECK(bench.act(GrantFailed{99, "none", ""}, "daemon").events.empty());
}

TEST_CASE("a grant goes neither to a stranger's cage nor to one without a cage", "[grant]") {
    Bench bench;
    const auto primary = bench.begin();
    auto grant = net_grant("primary/scraper", GrantScope::session);
    grant.cage = CageId("cage_1");  // the primary's
    CHECK(refused([&] { bench.act(grant); }) == Errc::not_found);
    grant.cage = CageId("cage_of_another_session");
    CHECK(refused([&] { bench.act(grant); }) == Errc::not_found);
    CHECK(refused([&] {
              bench.act(net_grant("primary/nobody", GrantScope::session));
          }) == Errc::not_found);
    bench.project.primary.subagents[0].cage.disabled = true;
    CHECK(refused([&] {
              bench.act(net_grant("primary/scraper", GrantScope::session));
          }) == Errc::conflict);
    CHECK(bench.count("cage.granted") == 0);
}

TEST_CASE("a grant stays below the operator's ceiling", "[grant]") {
    Bench bench;
    bench.begin();
    bench.ceiling.net = std::vector<NetRule>{make_net_grant("good.example:443", false)};
    CHECK(refused([&] {
              bench.act(net_grant("primary/scraper", GrantScope::session));
          }) == Errc::denied);
    auto allowed = net_grant("primary/scraper", GrantScope::session);
    allowed.rule = make_net_grant("good.example:443", false);
    bench.act(allowed);
    CHECK(bench.count("cage.granted") == 1);
}

TEST_CASE("a session remembers a bounded number of grants", "[grant]") {
    Bench bench;
    bench.begin();
    for (std::size_t i = 0; i < kMaxGrants; ++i) {
        auto grant = net_grant("primary", GrantScope::session);
        grant.rule = make_net_grant("h" + std::to_string(i) + ".example:443", false);
        bench.act(net_grant("primary", GrantScope::once));
        bench.act(grant);
    }
    CHECK(bench.state.grants.size() == kMaxGrants);
    CHECK(refused([&] { bench.act(net_grant("primary", GrantScope::session)); }) == Errc::busy);
    CHECK(fold(bench.log) == bench.state);
}

TEST_CASE("a private address needs the operator's word", "[grant]") {
    CHECK(refused([&] { make_net_grant("10.0.0.1:80", false); }) == Errc::invalid);
    CHECK(make_net_grant("10.0.0.1:80", true).allow_private);
    CHECK(refused([&] { make_net_grant("http://x", false); }) == Errc::invalid);
    CHECK(refused([&] { make_net_grant("x.example:0", false); }) == Errc::invalid);
}

TEST_CASE("a folder is granted beneath the project and never onto a protected path", "[grant]") {
    const Folder folder;
    const auto& project = folder.project;
    const auto rule = make_fs_grant(project, "project:/data", "rw");
    CHECK(rule.source == folder.root + "/data");
    CHECK(rule.root == folder.root);
    CHECK(rule.target == "/workspace/data");
    CHECK(rule.mode == FsMode::rw);
    std::filesystem::create_directory_symlink("data", folder.root + "/link");
    CHECK(make_fs_grant(project, "project:/link/deep", "ro").source == folder.root + "/data/deep");
    CHECK(make_fs_grant(project, "project:/link/deep", "ro").target == "/workspace/data/deep");
    CHECK(make_fs_grant(project, "/workspace/data/deep", "ro").target == "/workspace/data/deep");
    CHECK(make_fs_grant(project, "project:/.volary", "ro").mode == FsMode::ro);
    for (const auto* path :
         {"project:/.volary", "project:/.volary/project.yaml", "project:/", "project:/.git",
          "project:/.git/hooks", "project:/plain"}) {
        INFO(path);
        CHECK(refused([&] { make_fs_grant(project, path, "rw"); }) == Errc::denied);
    }
    for (const auto* path :
         {"/etc", "/workspaces", "project:/../etc", "project:/out", "project:/nothing", "config:/x",
          "data", ""}) {
        INFO(path);
        CHECK(refused([&] { make_fs_grant(project, path, "ro"); }) == Errc::invalid);
    }
    CHECK(refused([&] { make_fs_grant(project, "project:/data", "hide"); }) == Errc::invalid);
}

TEST_CASE("a project file is replaced only while it is what the diff was made from", "[grant]") {
    const Folder folder;
    ::chmod(folder.file().c_str(), 0640);
    const auto before = read_project_file(folder.file());
    write_project_file(folder.file(), before, "version: 1 # new\n");
    CHECK(folder.text() == "version: 1 # new\n");
    CHECK(folder.files() == 1);
    struct stat info{};
    ::stat(folder.file().c_str(), &info);
    CHECK((info.st_mode & 07777U) == 0640U);
    CHECK(refused([&] { write_project_file(folder.file(), before, "x"); }) == Errc::conflict);
    CHECK(folder.text() == "version: 1 # new\n");
    CHECK(folder.files() == 1);
    CHECK(edit_hash(before, "a") != edit_hash(before, "b"));
    CHECK(edit_hash("a", before) != edit_hash("b", before));
}

TEST_CASE("a link in place of a project file is not followed", "[grant]") {
    const Folder folder;
    const auto target = folder.root + "/data/real.yaml";
    std::filesystem::rename(folder.file(), target);
    std::filesystem::create_symlink(target, folder.file());
    CHECK(refused([&] { read_project_file(folder.file()); }) == Errc::invalid);
    CHECK(refused([&] {
              write_project_file(folder.file(), "version: 1\n", "x");
          }) == Errc::invalid);
}
