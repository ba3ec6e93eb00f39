// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/peers.hpp"

#include "base/child.hpp"
#include "base/error.hpp"
#include "cage/compiler.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

namespace volary::bench {
namespace {

using namespace volary::cage;
using Clock = std::chrono::steady_clock;

UniqueFd memory_file(const std::string& bytes) {
    UniqueFd file(::memfd_create("bench", MFD_CLOEXEC));
    if (::write(file.get(), bytes.data(), bytes.size()) < 0) throw_errno("write");
    ::lseek(file.get(), 0, SEEK_SET);
    return file;
}

std::string find_in_path(std::string_view name) {
    const char* path = std::getenv("PATH");
    std::string_view list = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
    while (!list.empty()) {
        const auto end = std::min(list.find(':'), list.size());
        auto candidate = std::string(list.substr(0, end)) + "/" + std::string(name);
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return {};
}

Peer find_peer(std::string name, const char* program, std::vector<std::string> rest) {
    Peer out;
    out.name = std::move(name);
    auto path = find_in_path(program);
    if (path.empty()) return out;
    out.argv.push_back(std::move(path));
    out.argv.insert(out.argv.end(), rest.begin(), rest.end());
    return out;
}

/// A root for podman: an image store would be one more thing to set up. Removed with its last
/// owner.
std::shared_ptr<const std::string> make_root() {
    namespace fs = std::filesystem;
    auto pattern = (fs::temp_directory_path() / "volary-bench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp", pattern);
    for (const char* name : {"usr", "etc", "proc", "sys", "dev", "tmp", "run"})
        fs::create_directory(fs::path(pattern) / name);
    for (const std::string name : {"bin", "lib", "lib64"})
        fs::create_symlink("usr/" + name, fs::path(pattern) / name);
    const auto remove = [](const std::string* path) {
        std::error_code ignored;
        fs::remove_all(*path, ignored);
        delete path;
    };
    return {new std::string(std::move(pattern)), remove};
}

Peer podman_with(std::string name, const char* runtime, const std::vector<std::string>& more) {
    const auto root = make_root();
    std::vector<std::string> rest{"--runtime", runtime, "--log-level=error", "run", "--rm"};
    rest.insert(rest.end(), more.begin(), more.end());
    for (const char* word :
         {"--network=none", "--read-only", "--read-only-tmpfs=false", "--log-driver=none",
          "--security-opt=no-new-privileges", "--cap-drop=all", "--ulimit=nofile=1024:1024",
          "--ulimit=nproc=512:512", "--volume=/usr:/usr:ro", "--rootfs"})
        rest.emplace_back(word);
    rest.push_back(*root);
    rest.emplace_back("/bin/echo");
    auto out = find_peer(std::move(name), "podman", std::move(rest));
    if (find_in_path(runtime).empty()) out.argv.clear();
    // Ends the process that keeps the user namespace of a user's podmans.
    if (!out.argv.empty()) out.after = {out.argv.front(), "system", "migrate"};
    out.root = root;
    return out;
}

/// The last line of a file that something wrote to.
std::string last_line(const UniqueFd& file) {
    std::string text(4096, '\0');
    const auto got = ::pread(file.get(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    while (text.ends_with('\n')) text.pop_back();
    return text.substr(text.rfind('\n') + 1);
}

}  // namespace

CagePolicy sample_policy() {
    CagePolicy policy;
    policy.net = {{.host = "a.example", .text = "a.example:443"}};
    return policy;
}

SpawnerPaths programs() {
    auto paths = find_programs();
    const char* bin = std::getenv("VOLARY_BIN");
    auto folder = bin != nullptr ? std::string(bin) : paths.shim.substr(0, paths.shim.rfind('/'));
    if (bin == nullptr) folder = std::filesystem::canonical(folder + "/../../bin");
    paths.shim = folder + "/volary-shim";
    paths.init = folder + "/volary-init";
    return paths;
}

Peer bare_bwrap(const SpawnerPaths& paths) {
    CageSpec spec;
    spec.policy = sample_policy();
    spec.argv = {"/bin/echo"};
    spec.init = paths.init;
    const auto compiled = compile(spec, RealHost());
    Peer out;
    out.name = "bare bwrap";
    out.held = open_sources(compiled.sources);
    out.argv = {paths.bwrap, "--unshare-net"};
    out.once = true;
    int next = 3;
    const auto give = [&](int fd) {
        out.fds.emplace_back(fd, next);
        return std::to_string(next++);
    };
    for (const auto& word : compiled.options) {
        if (word.kind == wire::Argument::Kind::text) out.argv.push_back(word.text);
        const bool path = word.kind == wire::Argument::Kind::fd_path;
        if (path || word.kind == wire::Argument::Kind::fd) {
            const auto number = give(out.held[word.index - first_source_index(spec)].get());
            out.argv.push_back((path ? "/proc/self/fd/" : "") + number);
        }
        if (word.kind == wire::Argument::Kind::data) {
            out.held.push_back(memory_file(compiled.data[word.index]));
            out.argv.push_back(give(out.held.back().get()));
        }
    }
    out.argv.insert(out.argv.end(), {"--", "/bin/echo"});
    return out;
}

std::vector<Peer> other_peers() {
    std::vector<Peer> out;
    out.push_back(find_peer("unshare", "unshare", {"-Urnmpfiu", "--", "/bin/echo"}));
    // Without `--`, after which it takes the user's login shell, and a system user has none.
    out.push_back(find_peer(
        "firejail", "firejail",
        {"--quiet", "--noprofile", "--net=none", "--private", "--private-dev", "--seccomp",
         "--caps.drop=all", "/bin/echo"}
    ));
    out.push_back(podman_with("podman", "crun", {"--cgroups=disabled"}));
    // runc knows no --cgroups=disabled; crun refuses hosts with "hybrid" cgroups.
    out.push_back(podman_with("podman_runc", "runc", {}));
    out.push_back(find_peer("srt", "srt", {"/bin/echo"}));
    return out;
}

double time_peer(const Peer& peer, bool whole) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) throw_errno("pipe");
    const UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    const UniqueFd quiet(::open("/dev/null", O_RDWR | O_CLOEXEC));
    ChildSpec child;
    child.argv = peer.argv;
    child.fds = peer.fds;
    child.fds.emplace_back(quiet.get(), 0);
    child.fds.emplace_back(writer.get(), 1);
    const UniqueFd said = memory_file({});
    child.fds.emplace_back(said.get(), 2);
    const auto since = [start = Clock::now()] {
        return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    };
    Child running = Child::spawn(child);
    writer.reset();
    char byte = 0;
    // What else it may say, such as that the user has no login shell, is no sample.
    if (::read(reader.get(), &byte, 1) != 1 || byte != '\n')
        throw Error(Errc::io, peer.name + " did not run: " + last_line(said));
    const auto first = since();
    if (!whole) return first;
    pollfd ended{running.pidfd(), POLLIN, 0};
    while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    return since();
}

double percentile(std::vector<double> values, double part) {
    if (values.empty()) return 0.0;
    std::sort(values.begin(), values.end());
    const auto at = static_cast<std::size_t>(part * static_cast<double>(values.size() - 1) + 0.5);
    return values[at];
}

double median(std::vector<double> values) { return percentile(std::move(values), 0.5); }

}  // namespace volary::bench
