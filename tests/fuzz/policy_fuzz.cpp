// SPDX-License-Identifier: Apache-2.0
// Policies are foreign text that decides what a cage may touch: whatever the reader accepts is
// compiled, and keeps what a cage promises.
#include "base/error.hpp"
#include "cage/compiler.hpp"
#include "dsl/build.hpp"
#include "dsl/grammar.hpp"
#include "dsl/validate.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace {

using namespace volary;
namespace fs = std::filesystem;

/// A project with what real ones have; made once, and left to the temporary folder.
const dsl::ProjectFolder& project() {
    static const auto folder = [] {
        auto name = (fs::temp_directory_path() / "volary-policy-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        const fs::path root = name;
        for (const auto* each : {".volary", ".git/hooks", "data/deep", "site", "a b"})
            fs::create_directories(root / each);
        for (const auto* each : {".volary/project.yaml", ".git/config", "site/index.html"})
            std::ofstream(root / each) << "x";
        fs::create_directory_symlink(".volary", root / "door");
        fs::create_directory_symlink("/etc", root / "out");
        auto opened = dsl::ProjectFolder::open(root, ".volary");
        if (!opened) std::abort();
        return std::move(*opened);
    }();
    return folder;
}

/// A host like Debian 12, and the project as it is.
class FakeHost final : public cage::HostView {
public:
    cage::PathKind kind(const std::string& path) const override {
        using enum cage::PathKind;
        if (path.starts_with(project().root())) return cage::RealHost().kind(path);
        if (path == "/bin" || path == "/lib" || path == "/lib64" || path == "/sbin") return link;
        if (path == "/usr" || path == "/etc/ssl" || path == "/etc/alternatives") return folder;
        return path == "/etc/ld.so.cache" ? file : absent;
    }
    std::string link_target(const std::string& path) const override { return "usr" + path; }
};

void require(bool holds) {
    if (!holds) std::abort();
}

bool lies_in(std::string_view path, std::string_view folder) {
    return path == folder || (path.starts_with(folder) && path[folder.size()] == '/');
}

/// What of the policy nobody but dsl/ has looked at.
void check_policy(const CagePolicy& policy) {
    require(policy.workspace == project().root());
    for (const auto& rule : policy.net) {
        require(rule.port != 0 && !rule.host.empty() && !rule.origin.empty());
        require(rule.credential.empty() || rule.sni.empty());
        const bool named = rule.kind == NetRule::Kind::name || rule.kind == NetRule::Kind::wildcard;
        require(rule.credential.empty() || named);
        const bool reads = rule.methods.empty() && rule.paths.empty();
        require(reads || rule.port != 443 || !rule.credential.empty());
    }
    for (const auto& rule : policy.fs) {
        require(rule.target.starts_with('/') && rule.target.find("/../") == std::string::npos);
        if (rule.source.empty()) continue;
        require(lies_in(rule.source, project().root()) && rule.root == project().root());
    }
    for (const auto& port : policy.ports) require(port.port != 0 && !port.name.empty());
    for (const auto& device : policy.devices)
        require(device.starts_with("/dev/") && device.find("..") == std::string::npos);
    const auto& limits = policy.limits;
    require(limits.memory && limits.pids && limits.disk && limits.files);
    require(limits.memory->value > 0 && *limits.pids > 0 && limits.disk->value > 0);
}

/// What a cage promises, whatever its policy says.
void check_cage(const cage::CompiledCage& compiled) {
    static constexpr std::array kMade{"/proc", "/sys", "/dev", "/etc", "/run", "/usr"};
    for (const auto& mount : compiled.mounts) {
        require(mount.target.starts_with('/') && mount.target.size() > 1);
        const bool own = mount.rule == "system" || mount.rule == "init" ||
                         mount.rule == "default" || mount.rule == "protected" ||
                         mount.rule == "workspace";
        for (const auto* made : kMade) require(own || !lies_in(mount.target, made));
        // Nothing of the host but the system, the project and the first program.
        if (mount.source.empty() || own) continue;
        require(lies_in(mount.source, project().root()));
        require(mount.root == project().root());
    }
    const auto root = project().root();
    for (const auto& mount : compiled.mounts) {
        if (mount.kind != cage::Mount::Kind::bind_rw) continue;
        require(!lies_in(mount.source, root + "/.volary"));
        require(!lies_in(mount.source, root + "/.git/hooks"));
        require(mount.source != root + "/.git/config");
    }
}

void compile(const CagePolicy& policy) {
    cage::CageSpec spec;
    spec.policy = policy;
    spec.argv = {"/bin/true"};
    spec.init = "/opt/volary-init";
    spec.internal_names = {"volary.internal"};
    const FakeHost host;
    try {
        check_cage(cage::compile(spec, host));
    } catch (const Error& error) {
        // A refusal that the operator can act on: it says what it is about.
        require(error.message().size() > 10);
        require(error.code() != Errc::internal);
    }
}

}  // namespace

// libfyaml 0.7.12 drops a few hundred bytes of its own when a flow collection is malformed; what it
// leaks per refused file is not what this looks for.
extern "C" const char* __lsan_default_suppressions() { return "leak:libfyaml.so\n"; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    dsl::Report report;
    report.add_file("cage.yaml");
    auto parsed = dsl::parse_yaml(text, 0);
    if (!parsed.complete || !parsed.problems.empty()) return 0;
    auto& root = parsed.root;
    if (!root.is(dsl::Node::Kind::null)) dsl::validate(root, dsl::cage_type(), {}, report);
    auto built = dsl::build_cage(&root, &root, {}, project(), report);
    if (!report.take().empty()) return 0;
    fill_limits(built.policy.limits, {});
    check_policy(built.policy);
    if (!built.policy.disabled) compile(built.policy);
    (void)exceeding(built.policy, {});
    return 0;
}
