// SPDX-License-Identifier: Apache-2.0
// What the host makes of the upper layer of an overlay, built by hand here: no cage is needed.
#include "cage/layers.hpp"

#include "base/error.hpp"
#include "cage/changes.hpp"
#include "cage/use.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

void write_file(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
}

std::string read_file(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

fs::path make_folder() {
    std::string pattern = (fs::temp_directory_path() / "volary-layered-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    return pattern;
}

/// A project folder and the layer of a cage that saw it at /workspace.
struct Layered {
    Layered() {
        fs::create_directory(host);
        (void)LayersFolder::open(layers).layer({"/workspace", host, host});
    }
    Layered(const Layered&) = delete;
    Layered& operator=(const Layered&) = delete;
    ~Layered() { remove_tree(folder); }

    void whiteout(const std::string& path) const {
        fs::create_directories((upper / path).parent_path());
        REQUIRE(::mknod((upper / path).c_str(), S_IFCHR, makedev(0, 0)) == 0);
    }

    std::string list() const {
        std::string out;
        for (const auto& change : list_changes(layers)) {
            out += std::string(to_string(change.kind)) + " " + change.path;
            if (!change.refused.empty()) out += " (" + change.refused + ")";
            out += "\n";
        }
        return out;
    }

    /// What is listed at or below `path` (empty: all) as somebody who looks at it sees it.
    std::vector<Seen> look(const std::string& path = {}) const {
        std::vector<Seen> out;
        for (auto& change : list_changes(layers))
            if (change.path.rfind(path, 0) == 0)
                out.push_back({std::move(change.path), std::move(change.digest)});
        return out;
    }

    Applied keep(const std::string& path = {}) const { return keep_changes({layers}, look(path)); }

    std::string diff(const std::string& path) const {
        for (const auto& change : list_changes(layers))
            if (change.path == path) return diff_of(change);
        return "no change";
    }

    fs::path folder = make_folder();
    fs::path host = folder / "host";
    std::string layers = folder / "layers";
    fs::path upper = fs::path(layers) / layer_name("/workspace") / "upper";
};

}  // namespace

TEST_CASE("changes are what differs from the host", "[changes]") {
    Layered one;
    write_file(one.host / "same", "same");
    write_file(one.host / "old", "a\nb\n");
    write_file(one.host / "gone/x", "x");
    write_file(one.upper / "same", "same");
    write_file(one.upper / "old", "a\nc\n");
    write_file(one.upper / "new/deep/file", "hello\n");
    fs::create_directories(one.upper / "empty");
    one.whiteout("gone");
    one.whiteout("never-there");
    CHECK(
        one.list() ==
        "added /workspace/empty\ndeleted /workspace/gone\nadded /workspace/new/deep/file\n"
        "changed /workspace/old\n"
    );
    CHECK_THAT(one.diff("/workspace/old"), Contains("-b\n+c\n"));
    CHECK_THAT(
        one.diff("/workspace/new/deep/file"), Contains("--- /dev/null") && Contains("+hello")
    );
    write_file(one.upper / "old", std::string("a\0b", 3));
    CHECK(one.diff("/workspace/old") == "binary file /workspace/old changed\n");
}

TEST_CASE("a folder that was made anew hides what the host has in it", "[changes]") {
    Layered one;
    write_file(one.host / "d/a", "a");
    write_file(one.host / "d/b", "b");
    write_file(one.upper / "d/b", "new");
    REQUIRE(::setxattr((one.upper / "d").c_str(), "user.overlay.opaque", "y", 1, 0) == 0);
    CHECK(one.list() == "deleted /workspace/d/a\nchanged /workspace/d/b\n");
    // Each by itself: the deletion is dropped, the change stays.
    CHECK(drop_changes({one.layers}, {"/workspace/d/a"}).count == 1);
    CHECK(one.list() == "changed /workspace/d/b\n");
}

TEST_CASE("keeping applies changes to the host and empties the layer", "[changes]") {
    Layered one;
    write_file(one.host / "old", "old");
    write_file(one.host / "gone/x/y", "y");
    write_file(one.upper / "old", "new");
    write_file(one.upper / "bin/tool", "#!/bin/sh\n");
    fs::permissions(one.upper / "bin/tool", static_cast<fs::perms>(04755));
    one.whiteout("gone");
    const auto done = one.keep();
    CHECK(done.count == 3);
    CHECK(done.refused.empty());
    CHECK(read_file(one.host / "old") == "new");
    CHECK_FALSE(fs::exists(one.host / "gone"));
    // No setuid program comes out of a cage.
    CHECK(fs::status(one.host / "bin/tool").permissions() == static_cast<fs::perms>(0755));
    CHECK(one.list().empty());
    CHECK(fs::is_empty(one.upper));
}

TEST_CASE("only what was looked at is kept", "[changes]") {
    Layered one;
    write_file(one.host / "old", "old");
    write_file(one.upper / "old", "fine");
    write_file(one.upper / "a", "a");
    const auto seen = one.look();
    REQUIRE(seen.size() == 2);
    CHECK(one.look()[1].digest == seen[1].digest);

    SECTION("another text of the same size and times") {
        const auto time = fs::last_write_time(one.upper / "old");
        write_file(one.upper / "old", "evil");
        fs::last_write_time(one.upper / "old", time);
    }
    SECTION("a program now") {
        fs::permissions(one.upper / "old", fs::perms::owner_exec, fs::perm_options::add);
    }
    SECTION("a link now") {
        fs::remove(one.upper / "old");
        fs::create_symlink("/etc/passwd", one.upper / "old");
    }
    SECTION("deleted now") {
        fs::remove(one.upper / "old");
        one.whiteout("old");
    }
    SECTION("as it was before") { write_file(one.upper / "old", "old"); }
    SECTION("somebody else wrote the host's file") { write_file(one.host / "old", "mine"); }

    const auto before = read_file(one.host / "old");
    try {
        keep_changes({one.layers}, seen);
        FAIL("kept what nobody looked at");
    } catch (const Error& error) {
        CHECK(error.code() == Errc::conflict);
        CHECK_THAT(error.message(), Contains("\"/workspace/old\" changed since you looked"));
        CHECK(error.details() == std::vector<std::string>{"/workspace/old"});
    }
    CHECK(read_file(one.host / "old") == before);
    CHECK_FALSE(fs::exists(one.host / "a"));
    const auto again = one.look();
    CHECK(keep_changes({one.layers}, again).count == again.size());
    CHECK(fs::exists(one.host / "a"));
}

TEST_CASE("a file of which no diff is shown is told by its times", "[changes]") {
    Layered one;
    write_file(one.upper / "large", std::string(kMaxDiffed + 1, 'x'));
    const auto seen = one.look();
    CHECK(one.look()[0].digest == seen[0].digest);
    write_file(one.upper / "large", std::string(kMaxDiffed + 1, 'y'));
    CHECK_THROWS_WITH(keep_changes({one.layers}, seen), Contains("look again"));
    CHECK(one.keep().count == 1);
}

TEST_CASE("what came after the look stays in the layer", "[changes]") {
    Layered one;
    write_file(one.upper / "seen", "1");
    const auto seen = one.look();
    write_file(one.upper / "later", "2");
    CHECK(keep_changes({one.layers}, seen).count == 1);
    CHECK_FALSE(fs::exists(one.host / "later"));
    CHECK(one.list() == "added /workspace/later\n");
}

TEST_CASE("a folder that is to go is the one that was looked at", "[changes]") {
    Layered one;
    write_file(one.host / "gone/x", "x");
    one.whiteout("gone");
    const auto seen = one.look();
    write_file(one.host / "gone/new", "somebody needs it");
    CHECK_THROWS_WITH(keep_changes({one.layers}, seen), Contains("look again"));
    CHECK(fs::exists(one.host / "gone/new"));
}

TEST_CASE("of several layers all are kept or none", "[changes]") {
    Layered one;
    Layered other;
    write_file(one.upper / "a", "a");
    write_file(other.upper / "b", "b");
    auto seen = one.look();
    for (auto& each : other.look()) seen.push_back(std::move(each));
    write_file(other.upper / "b", "c");
    CHECK_THROWS_WITH(keep_changes({one.layers, other.layers}, seen), Contains("/workspace/b"));
    CHECK_FALSE(fs::exists(one.host / "a"));
    seen.back() = other.look().front();
    CHECK(keep_changes({one.layers, other.layers}, seen).count == 2);
}

mode_t mode_of(const fs::path& path) {
    struct stat info{};
    REQUIRE(::lstat(path.c_str(), &info) == 0);
    return info.st_mode & 07777U;
}

TEST_CASE("looking and settling leave permissions as they were", "[changes]") {
    Layered one;
    write_file(one.host / "shut/mine", "mine");
    write_file(one.upper / "shut/new", "new");
    REQUIRE(::setxattr((one.upper / "shut").c_str(), "user.overlay.opaque", "y", 1, 0) == 0);
    write_file(one.upper / "own/in", "in");
    write_file(one.upper / "own/other", "other");
    fs::permissions(one.host / "shut", fs::perms::none);
    fs::permissions(one.upper / "own/in", fs::perms::none);
    fs::permissions(one.upper / "own", fs::perms::none);
    one.list();
    CHECK_THAT(one.diff("/workspace/own/in"), Contains("+in"));
    CHECK(mode_of(one.host / "shut") == 0);
    CHECK(mode_of(one.upper / "own") == 0);
    CHECK(one.keep("/workspace/own/other").count == 1);
    CHECK(mode_of(one.host / "shut") == 0);
    CHECK(mode_of(one.upper / "own") == 0);
    fs::permissions(one.upper / "own", fs::perms::owner_all);
    CHECK(mode_of(one.upper / "own/in") == 0);
    CHECK(fs::exists(one.host / "own/other"));
    CHECK(drop_changes({one.layers}, {}).count >= 1);
    CHECK(mode_of(one.host / "shut") == 0);
    fs::permissions(one.host / "shut", fs::perms::owner_all);
    CHECK(read_file(one.host / "shut/mine") == "mine");
}

TEST_CASE("some paths are kept, others dropped", "[changes]") {
    Layered one;
    write_file(one.upper / "a/1", "1");
    write_file(one.upper / "a/2", "2");
    write_file(one.upper / "b", "b");
    CHECK(one.keep("/workspace/a").count == 2);
    CHECK(one.list() == "added /workspace/b\n");
    CHECK(drop_changes({one.layers}, {}).count == 1);
    CHECK(one.list().empty());
    CHECK(read_file(one.host / "a/2") == "2");
    CHECK_FALSE(fs::exists(one.host / "b"));
}

TEST_CASE("protected paths and what is no file are not kept", "[changes]") {
    Layered one;
    write_file(one.host / ".git/config", "old");
    write_file(one.upper / ".git/hooks/pre-commit", "evil");
    write_file(one.upper / ".vscode/tasks.json", "evil");
    one.whiteout(".git/config");
    REQUIRE(::mkfifo((one.upper / "fifo").c_str(), 0600) == 0);
    const auto done = one.keep();
    CHECK(done.count == 0);
    CHECK(done.refused.size() == 4);
    CHECK(read_file(one.host / ".git/config") == "old");
    CHECK_FALSE(fs::exists(one.host / ".git/hooks"));
    CHECK_FALSE(fs::exists(one.host / ".vscode/tasks.json"));
    CHECK_THAT(one.list(), Contains("added /workspace/fifo (neither a file, folder nor link)"));
    // Removing a folder takes what is in it along.
    drop_changes({one.layers}, {});
    one.whiteout(".git");
    CHECK_THAT(one.list(), Contains("(protected)"));
    CHECK(one.keep().refused.size() == 1);
    CHECK(fs::exists(one.host / ".git/config"));
}

TEST_CASE("links are kept as links and never followed", "[changes]") {
    Layered one;
    write_file(one.folder / "outside/secret", "secret");
    // The cage replaced a folder by a link, and left a file in a folder of that name before.
    fs::create_directory_symlink(one.folder / "outside", one.upper / "up");
    write_file(one.upper / "down/secret", "planted");
    fs::create_directory_symlink(one.folder / "outside", one.host / "down");
    const auto done = one.keep();
    CHECK(fs::read_symlink(one.host / "up") == one.folder / "outside");
    CHECK(read_file(one.folder / "outside/secret") == "secret");
    // The host's link is in the way of the folder: replaced as a whole or refused, never entered.
    CHECK_FALSE(fs::is_symlink(one.host / "down"));
    CHECK(done.refused.empty());
    CHECK(read_file(one.host / "down/secret") == "planted");
}

TEST_CASE("a link in the place of the folder itself is not followed", "[changes]") {
    Layered one;
    write_file(one.host / "data/mine", "mine");
    write_file(one.host / ".git/hooks/post-merge", "good");
    write_file(one.folder / "outside/mine", "foreign");
    (void)LayersFolder::open(one.layers).layer({"/data", one.host / "data", one.host});
    const auto upper = fs::path(one.layers) / layer_name("/data") / "upper";
    write_file(upper / "post-merge", "evil");
    REQUIRE(::mknod((upper / "mine").c_str(), S_IFCHR, makedev(0, 0)) == 0);

    // An agent that may write beside it swaps the folder.
    fs::rename(one.host / "data", one.host / "moved");
    const auto target = GENERATE(as<std::string>{}, "outside", "host/.git/hooks");
    fs::create_directory_symlink(one.folder / target, one.host / "data");
    const auto done = one.keep();
    CHECK(done.count == 0);
    CHECK(read_file(one.host / ".git/hooks/post-merge") == "good");
    CHECK(read_file(one.folder / "outside/mine") == "foreign");
    CHECK_FALSE(fs::exists(one.folder / "outside/post-merge"));
    CHECK_THAT(one.diff("/data/post-merge"), Contains("+evil"));

    fs::remove(one.host / "data");
    fs::rename(one.host / "moved", one.host / "data");
    CHECK(one.keep().refused.empty());
    CHECK(read_file(one.host / "data/post-merge") == "evil");
    CHECK_FALSE(fs::exists(one.host / "data/mine"));
}

TEST_CASE("holes stay holes, and a file without permissions is read", "[changes]") {
    Layered one;
    write_file(one.upper / "sparse", "x");
    fs::resize_file(one.upper / "sparse", std::uintmax_t{1} << 36U);
    write_file(one.upper / "shut/in", "in");
    fs::permissions(one.upper / "shut/in", fs::perms::none);
    fs::permissions(one.upper / "shut", fs::perms::none);
    const auto done = one.keep();
    CHECK(done.refused.empty());
    struct stat info{};
    REQUIRE(::stat((one.host / "sparse").c_str(), &info) == 0);
    CHECK(info.st_size == off_t{1} << 36U);
    CHECK(info.st_blocks < 1024);
    fs::permissions(one.host / "shut/in", fs::perms::owner_read);
    CHECK(read_file(one.host / "shut/in") == "in");
}

TEST_CASE("layers in use are neither kept nor dropped", "[changes]") {
    Layered one;
    write_file(one.upper / "a", "a");
    const auto used = LayersFolder::open(one.layers);
    CHECK_THROWS_WITH(one.keep(), Contains("in use"));
    CHECK_THROWS_WITH(drop_changes({one.layers}, {}), Contains("in use"));
    CHECK_THROWS_WITH(LayersFolder::open(one.layers), Contains("in use"));
    CHECK(one.list() == "added /workspace/a\n");
}

TEST_CASE("a layer belongs to one folder of the host", "[changes]") {
    Layered one;
    write_file(one.upper / "a", "a");
    CHECK_THROWS_WITH(
        LayersFolder::open(one.layers).layer({"/workspace", one.folder / "other", ""}),
        Contains("another folder")
    );
    drop_changes({one.layers}, {});
    CHECK(LayersFolder::open(one.layers).layer({"/workspace", one.folder / "other", ""}));
}

TEST_CASE("a tree of any depth is counted up to a bound and removed", "[changes]") {
    Layered one;
    auto at = one.upper;
    // Longer than a path may be: made from within.
    const auto home = fs::current_path();
    fs::current_path(at);
    for (int i = 0; i < 700; ++i) {
        fs::create_directory("deep-folder");
        fs::current_path("deep-folder");
    }
    fs::current_path(home);
    const UniqueFd top(::open(one.upper.c_str(), O_PATH | O_DIRECTORY));
    TreeSample sample(top.get());
    while (sample.step(10)) {
    }
    CHECK(sample.too_deep());
    CHECK(sample.files() <= TreeSample::kMaxDepth);
    CHECK_THAT(one.list(), Contains("too deep"));
    drop_changes({one.layers}, {});
    CHECK(fs::is_empty(one.upper));
}

TEST_CASE("names of layers are file names", "[changes]") {
    CHECK(layer_name("/workspace") == "%2fworkspace");
    CHECK(layer_name("/a/b%") == "%2fa%2fb%25");
    const auto one = layer_name("/" + std::string(300, 'x'));
    const auto other = layer_name("/" + std::string(301, 'x'));
    CHECK(one.size() < 255);
    CHECK(one != other);
}
