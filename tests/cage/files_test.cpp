// SPDX-License-Identifier: Apache-2.0
// Files and limits of real cages: needs bwrap, the built programs and an ordinary user.
#include "base/error.hpp"
#include "cage/changes.hpp"
#include "tests/cage/spawn_fixture.hpp"

#include <fstream>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Catch::Contains;

namespace {

SpawnRequest layered(const Aviary& aviary, const std::string& script) {
    auto request = aviary.request({"/bin/sh", "-c", script});
    const auto root = aviary.folder.string();
    request.policy.fs = {{root, root, FsMode::cow, "/workspace"}};
    request.layers_folder = root + "-layers";
    return request;
}

struct Layers {
    explicit Layers(const Aviary& aviary) : path(aviary.folder.string() + "-layers") {}
    ~Layers() { remove_tree(path); }
    Layers(const Layers&) = delete;
    Layers& operator=(const Layers&) = delete;

    std::string list() const {
        std::string out;
        for (const auto& change : list_changes(path))
            out += std::string(to_string(change.kind)) + " " + change.path + "\n";
        return out;
    }
    Applied keep(const std::string& below = {}) const {
        std::vector<Seen> seen;
        for (const auto& change : list_changes(path))
            if (change.path.starts_with(below)) seen.push_back({change.path, change.digest});
        return keep_changes({path}, seen);
    }
    std::string path;
};

std::string mounts_of_host() {
    auto text = read_file("/proc/self/mountinfo");
    return text;
}

}  // namespace

TEST_CASE("what a cage changes through cow stays in its layer", "[cage]") {
    Aviary aviary;
    const Layers layers(aviary);
    write_file(aviary.folder / "a", "old\n");
    write_file(aviary.folder / "gone/x", "x");
    write_file(aviary.folder / ".git/config", "old");
    const auto before = mounts_of_host();
    const auto outcome = aviary.run(layered(
        aviary,
        "echo new > a; echo made > b; rm -r gone; mkdir -p c/d; echo e > c/d/e; mv c c2; cat a; "
        "echo bad > .git/config 2>/dev/null || echo refused; ls /workspace/gone 2>/dev/null; ls -a"
    ));
    INFO(outcome.err);
    CHECK_THAT(outcome.out, Contains("new\nrefused\n"));
    CHECK_THAT(outcome.out, !Contains("gone"));
    CHECK(read_file(aviary.folder / "a") == "old\n");
    CHECK(std::filesystem::exists(aviary.folder / "gone/x"));
    CHECK_FALSE(std::filesystem::exists(aviary.folder / "b"));
    CHECK(mounts_of_host() == before);
    CHECK(
        layers.list() ==
        "changed /workspace/a\nadded /workspace/b\nadded /workspace/c2/d/e\n"
        "deleted /workspace/gone\n"
    );
    // The next cage goes on with them; kept, they are the host's.
    CHECK(aviary.run(layered(aviary, "cat b; test -e gone || echo none")).out == "made\nnone\n");
    CHECK(layers.keep().count == 4);
    CHECK(read_file(aviary.folder / "a") == "new\n");
    CHECK_FALSE(std::filesystem::exists(aviary.folder / "gone"));
    CHECK(read_file(aviary.folder / "c2/d/e") == "e\n");
    CHECK(layers.list().empty());
}

TEST_CASE("a temporary layer goes with its cage", "[cage]") {
    Aviary aviary;
    write_file(aviary.folder / "a", "old\n");
    auto request = layered(aviary, "echo new > a; mkdir d; chmod 000 d; cat a");
    request.layers_folder.clear();
    CHECK(aviary.run(std::move(request)).out == "new\n");
    CHECK(read_file(aviary.folder / "a") == "old\n");
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::temp_directory_path()))
        CHECK_THAT(entry.path().string(), !Contains("volary-layers-"));
}

TEST_CASE("a kept layer that was booby-trapped harms no later cage", "[cage]") {
    Aviary aviary;
    const Layers layers(aviary);
    write_file(aviary.folder / ".git/hooks/pre-commit", "old");
    const auto outside = aviary.folder.string() + "-layers-outside";
    CHECK(aviary.run(layered(aviary, "echo new > x")).exit.status.ok());
    // Worse than a cage can do: the mount below keeps the folder from being replaced.
    const auto upper = std::filesystem::path(layers.path) / layer_name("/workspace") / "upper";
    std::filesystem::create_directory_symlink(outside, upper / ".git");
    const auto outcome = aviary.run(layered(aviary, "echo runs"));
    INFO(outcome.err);
    CHECK(outcome.out == "runs\n");
    CHECK_FALSE(std::filesystem::exists(outside));
    CHECK(read_file(aviary.folder / ".git/hooks/pre-commit") == "old");
    CHECK_FALSE(layers.keep("/workspace/.git").refused.empty());
    CHECK(read_file(aviary.folder / ".git/hooks/pre-commit") == "old");
}

TEST_CASE("cow is for folders, and its layers for one cage at a time", "[cage]") {
    Aviary aviary;
    const Layers layers(aviary);
    write_file(aviary.folder / "file", "x");
    auto request = layered(aviary, "true");
    const auto root = aviary.folder.string();
    request.policy.fs = {{root + "/file", root, FsMode::cow, "/workspace/file", "project.yaml:3"}};
    CHECK_THAT(aviary.refusal(request), Contains("fs[0] (project.yaml:3)") && Contains("folder"));
    const auto used = LayersFolder::open(layers.path);
    CHECK_THAT(aviary.refusal(layered(aviary, "true")), Contains("in use"));
}

TEST_CASE("the disk limit counts cow layers", "[cage]") {
    Aviary aviary;
    const Layers layers(aviary);
    auto request = layered(aviary, "head -c 60M /dev/zero > big; sleep 10");
    request.policy.limits.disk = ByteCount{std::uint64_t{32} << 20U};
    const auto outcome = aviary.run(std::move(request));
    CHECK(outcome.exit.reason == "disk");
    REQUIRE_FALSE(aviary.limits_told.empty());
    CHECK(aviary.limits_told.front() == "disk");
    auto files =
        layered(aviary, "mkdir many; cd many; for i in $(seq 20000); do : > $i; done; sleep 9");
    files.policy.limits.disk = ByteCount{std::uint64_t{64} << 20U};
    CHECK(aviary.run(std::move(files)).exit.reason == "disk");
}

TEST_CASE("a home that is kept is there again", "[cage]") {
    Aviary aviary;
    const auto home = aviary.folder / "home";
    std::filesystem::create_directory(home);
    auto request = aviary.request({"/bin/sh", "-c", "echo x >> $HOME/f; cat $HOME/f"});
    request.kept_home = home;
    CHECK(aviary.run(request).out == "x\n");
    request.id = CageId("cage_second");
    CHECK(aviary.run(request).out == "x\nx\n");
    request.kept_home.clear();
    request.id = CageId("cage_third");
    CHECK(aviary.run(request).out == "x\n");
    request.kept_home = aviary.folder / "absent";
    CHECK_THAT(aviary.refusal(request), Contains("state") && Contains("No such file"));
}

TEST_CASE("protected paths that are made are told", "[cage]") {
    Aviary aviary;
    std::filesystem::create_symlink("elsewhere", aviary.folder / ".profile");
    const auto outcome = aviary.shell(
        "mkdir .vscode; echo '{}' > .vscode/tasks.json; ln -sf x .profile; echo ok > .zshrc2; echo"
    );
    INFO(outcome.err);
    CHECK(
        outcome.exit.planted ==
        std::vector<std::string>{
            (aviary.folder / ".profile").string(), (aviary.folder / ".vscode/tasks.json").string()
        }
    );
    CHECK(aviary.denials.size() == 2);
    CHECK(aviary.shell("true").exit.planted.empty());
}

TEST_CASE("only listed devices are there", "[cage]") {
    Aviary aviary;
    CHECK(aviary.shell("test -e /dev/fuse || echo none").out == "none\n");
    if (!std::filesystem::is_character_file("/dev/fuse")) return;
    auto request = aviary.request({"/bin/sh", "-c", "test -c /dev/fuse && echo there"});
    request.policy.devices = {"/dev/fuse"};
    const auto outcome = aviary.run(std::move(request));
    INFO(outcome.err);
    CHECK(outcome.out == "there\n");
}

TEST_CASE("what tells one host from another is masked", "[cage]") {
    Aviary aviary;
    const auto outcome = aviary.shell(
        "cat /proc/cmdline /proc/keys /proc/key-users /proc/kcore /proc/interrupts 2>/dev/null; "
        "ls /proc/acpi /proc/scsi /proc/asound 2>/dev/null | grep -v : ; "
        "echo x > /proc/sys/kernel/random/boot_id; cat /proc/sys/kernel/random/boot_id; hostname"
    );
    auto own = read_file("/proc/sys/kernel/random/boot_id");
    const auto lines = outcome.out;
    INFO(lines << outcome.err);
    CHECK(lines.size() == 37 + 5);
    CHECK_THAT(lines, !Contains(own));
    CHECK_THAT(lines, Contains("cage\n"));
}

TEST_CASE("a layer that is required and missing refuses the cage", "[cage]") {
    Aviary aviary;
    auto request = aviary.request({"/bin/true"});
    request.policy.require = {"seccomp", "network"};
    CHECK(aviary.refusal(request).empty());
    request.policy.require = {"disk"};
    request.id = CageId("cage_again");
    CHECK_THAT(aviary.refusal(request), Contains("require[0]: disk:"));
}

TEST_CASE("output beyond its rate waits and is not lost", "[cage]") {
    Aviary aviary;
    auto request = aviary.request({"/bin/sh", "-c", "head -c 300000 /dev/zero; echo end >&2"});
    request.policy.limits.output = ByteCount{500000};
    const auto start = std::chrono::steady_clock::now();
    const auto outcome = aviary.run(std::move(request));
    const auto took = std::chrono::steady_clock::now() - start;
    CHECK(outcome.out.size() == 300000);
    CHECK(outcome.err == "end\n");
    CHECK(took > std::chrono::milliseconds(450));
    CHECK(outcome.exit.status.ok());
}

namespace {

asio::awaitable<void> grow(
    Aviary* aviary, SpawnRequest request, std::vector<FsRule> rules, std::vector<std::string>* said,
    std::string* out, CageUse* use
) {
    auto cage = co_await aviary->spawner.spawn(std::move(request));
    for (auto& rule : rules) {
        std::string problem;
        try {
            co_await cage->add_bind(rule);
        } catch (const Error& error) {
            problem = error.what();
        }
        said->push_back(problem);
    }
    *use = cage->use();
    // The end of its input lets it go on.
    cage->take_stdin();
    *out = co_await read_all(cage->take_stdout());
    co_await cage->wait();
}

}  // namespace

TEST_CASE("paths are bound into a running cage", "[cage]") {
    Aviary aviary;
    const auto outside = aviary.folder.string() + "-outside";
    write_file(outside + "/f", "granted\n");
    write_file(outside + "/one", "file\n");
    std::filesystem::create_directory(aviary.folder / "place");
    std::filesystem::create_symlink("/etc", aviary.folder / "link");
    auto request = aviary.request(
        {"/bin/sh", "-c",
         "cat > /dev/null; cat /opt/data/f /srv/one; echo x 2>/dev/null > /opt/data/f || echo ro; "
         "echo w > place/w && cat place/w; touch /opt/data2 2>/dev/null || echo root-ro"}
    );
    std::vector<FsRule> rules{
        {outside, "", FsMode::ro, "/opt/data"},
        {outside + "/one", "", FsMode::ro, "/srv/one"},
        {outside, "", FsMode::rw, "/workspace/place"},
        {outside, "", FsMode::rw, "/opt/more"},
        {outside, "", FsMode::ro, "/workspace/link/x"},
        {outside + "/absent", "", FsMode::ro, "/opt/absent"},
        {outside, "", FsMode::ro, "/proc/x"},
        {aviary.folder, "", FsMode::rw, "/workspace/place"},
        {outside, "", FsMode::ro, "/workspace/open"},
    };
    std::filesystem::create_directories(aviary.folder / "open/hidden");
    request.policy.fs.push_back({"", "", FsMode::hide, "/workspace/open/hidden"});
    std::vector<std::string> said;
    std::string out;
    CageUse use;
    aviary.await(grow(&aviary, std::move(request), std::move(rules), &said, &out, &use));
    INFO(said[0] << "\n" << said[1] << "\n" << said[2]);
    CHECK(said[0].empty());
    CHECK(said[1].empty());
    CHECK(said[2].empty());
    CHECK_THAT(said[3], Contains("at the next start"));
    CHECK_THAT(said[4], Contains("at the next start"));
    CHECK_THAT(said[5], Contains("No such file"));
    CHECK_THAT(said[6], Contains("no place"));
    CHECK_THAT(said[7], Contains("must stay read-only"));
    CHECK_THAT(said[8], Contains("cover \"/workspace/open/hidden\"; it holds at the next start"));
    CHECK(out == "granted\nfile\nro\nw\nroot-ro\n");
    CHECK(read_file(outside + "/w") == "w\n");
    CHECK(use.elapsed.count() >= 0);
    std::filesystem::remove_all(outside);
}

TEST_CASE("a cage tells what it uses", "[cage]") {
    Aviary aviary;
    auto request = aviary.request(
        {"/usr/bin/python3", "-c",
         "x = bytearray(80 << 20); open('/tmp/f', 'wb').write(bytes(5 << 20)); "
         "print('full', flush=True); import sys; sys.stdin.read()"}
    );
    CageUse use;
    const auto look = [](Aviary* at, SpawnRequest what, CageUse* seen) -> asio::awaitable<void> {
        auto cage = co_await at->spawner.spawn(std::move(what));
        asio::steady_timer timer(at->io);
        while (seen->memory < (std::uint64_t{80} << 20U) || seen->disk < (std::uint64_t{5} << 20U)
        ) {
            timer.expires_after(std::chrono::milliseconds(20));
            co_await timer.async_wait(asio::use_awaitable);
            *seen = cage->use();
        }
        cage->take_stdin();
        co_await cage->wait();
    };
    aviary.await(look(&aviary, std::move(request), &use));
    CHECK(use.pids >= 1);
    CHECK(use.files >= 1);
    CHECK(use.elapsed.count() > 0);
}
