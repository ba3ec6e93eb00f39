// SPDX-License-Identifier: Apache-2.0
#include "cage/compiler.hpp"

#include "base/error.hpp"
#include "cage/mounts.hpp"
#include "cage/seccomp.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <linux/openat2.h>
#include <optional>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

using wire::Argument;

/// Numbers of the one user that a cage knows. Its files on the host belong to the daemon's user.
constexpr const char* kUid = "1000";
/// What shared memory of the cage may take; it counts as memory.
constexpr std::uint64_t kSharedMemory = std::uint64_t{64} << 20U;
/// On Debian merged-usr hosts these are links into /usr.
constexpr std::array kSystemLinks{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};

/// What /proc tells about the host and not about the cage: boot parameters (they name disks),
/// devices, keys, timers. Shown as in containers by OCI runtimes: not readable, or empty.
constexpr std::array kMaskedFiles{
    "/proc/cmdline",   "/proc/interrupts",    "/proc/kcore",       "/proc/keys",
    "/proc/key-users", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list",
};
constexpr std::array kMaskedFolders{"/proc/acpi", "/proc/asound", "/proc/scsi"};
constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "agent:x:1000:1000:agent:/home/agent:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
constexpr const char* kGroup = "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n";
constexpr const char* kHosts = "127.0.0.1 localhost cage\n::1 localhost\n";
constexpr const char* kNsswitch =
    "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
    "protocols: files\nservices: files\n";
constexpr const char* kResolv = "nameserver 127.0.0.53\noptions timeout:2 attempts:2\n";

class Builder {
public:
    Builder(const CageSpec& spec, const HostView& host) : spec_(spec), host_(host) {}

    CompiledCage build() {
        if (spec_.argv.empty() || spec_.argv.front().empty())
            throw Error(Errc::invalid, "the command of the cage is empty");
        out_.mounts = plan_mounts(spec_, host_);
        out_.unheld = unheld_paths(spec_.policy.workspace, out_.mounts, host_);
        out_.net = plan_network(spec_.policy.net, spec_.internal_names);
        out_.env = make_environment(spec_.policy);
        fill_limits();
        out_.working_directory = !spec_.working_directory.empty() ? spec_.working_directory
                                 : spec_.policy.workspace.empty() ? kHome
                                                                  : kWorkspace;
        seccomp_ =
            seccomp_programs(seccomp_rules(spec_.policy), spec_.notify ? Notify::yes : Notify::no);
        namespaces();
        environment();
        root();
        mounts();
        words({"--remount-ro", "/", "--chdir", out_.working_directory});
        command();
        return std::move(out_);
    }

private:
    void words(std::initializer_list<std::string> texts) {
        for (const auto& text : texts) out_.options.push_back({Argument::Kind::text, text, 0});
    }
    void data(std::string bytes) {
        out_.options.push_back(
            {Argument::Kind::data, {}, static_cast<std::uint16_t>(out_.data.size())}
        );
        out_.data.push_back(std::move(bytes));
    }

    void fill_limits() {
        const auto usual = default_limits();
        out_.limits = spec_.policy.limits;
        auto& limits = out_.limits;
        if (!limits.memory) limits.memory = usual.memory;
        if (!limits.pids) limits.pids = usual.pids;
        if (!limits.disk) limits.disk = usual.disk;
        if (!limits.files) limits.files = usual.files;
    }

    void namespaces() {
        // The network namespace is the shim's. --disable-userns needs an explicit --unshare-user.
        words({"--unshare-user", "--disable-userns", "--uid", kUid, "--gid", kUid});
        words({"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"});
        words({"--hostname", kHostname, "--die-with-parent"});
        if (!spec_.keep_session) words({"--new-session"});
        words({"--seccomp"});
        data(std::move(seccomp_.outer));
    }

    void environment() {
        words({"--clearenv"});
        for (const auto& entry : out_.env) {
            const auto equals = entry.find('=');
            words({"--setenv", entry.substr(0, equals), entry.substr(equals + 1)});
        }
    }

    void file(const std::string& path, std::string text) {
        words({"--perms", "0444", "--file"});
        data(std::move(text));
        words({path});
    }

    void root() {
        for (const std::string path : kSystemLinks)
            if (host_.kind(path) == PathKind::link)
                words({"--symlink", host_.link_target(path), path});
        file("/etc/passwd", kPasswd);
        file("/etc/group", kGroup);
        file("/etc/hosts", kHosts);
        file("/etc/nsswitch.conf", kNsswitch);
        file("/etc/resolv.conf", kResolv);
        words({"--proc", "/proc"});
        mask_proc();
        words({"--dev", "/dev"});
        devices();
        // bwrap's /dev is a tmpfs without a size: writable, it would be memory without a limit.
        words({"--perms", "1777", "--size", std::to_string(kSharedMemory), "--tmpfs", "/dev/shm"});
        words({"--remount-ro", "/dev"});
    }

    void mask_proc() {
        std::optional<std::uint16_t> null;
        for (const std::string path : kMaskedFiles) {
            if (host_.kind(path) != PathKind::file) continue;
            if (!null) null = add_source({"/dev/null", "", "system"});
            // Not --ro-bind-fd: bwrap closes that descriptor, and it is needed again.
            words({"--ro-bind"});
            out_.options.push_back({Argument::Kind::fd_path, {}, *null});
            words({path});
        }
        for (const std::string path : kMaskedFolders) {
            if (host_.kind(path) != PathKind::folder) continue;
            words({"--perms", "0555", "--size", "4096", "--tmpfs", path, "--remount-ro", path});
        }
        if (spec_.boot_id.empty() || host_.kind(kBootId) != PathKind::file) return;
        words({"--perms", "0444", "--ro-bind-data"});
        data(spec_.boot_id + "\n");
        words({kBootId});
    }

    void devices() {
        const auto& list = spec_.policy.devices;
        for (std::size_t i = 0; i < list.size(); ++i) {
            const auto rule = named_key(spec_.policy.origins, fmt::format("devices[{}]", i));
            check_device(list[i], rule);
            const auto index = add_source({list[i], "/dev", rule});
            // By its path, also where bwrap could bind by descriptor: only this keeps it a device.
            words({"--dev-bind"});
            out_.options.push_back({Argument::Kind::fd_path, {}, index});
            words({list[i]});
        }
    }

    void check_device(const std::string& path, const std::string& rule) const {
        const auto refuse = [&](Errc code, std::string_view why) {
            throw Error(code, fmt::format("{}: \"{}\" {}", rule, path, why));
        };
        if (!is_normal(path) || !is_beneath(path, "/dev") || path == "/dev")
            refuse(Errc::invalid, "is not an absolute path in /dev");
        for (const std::string_view own : {"/dev/shm", "/dev/pts", "/dev/mqueue"})
            if (is_beneath(path, own)) refuse(Errc::invalid, "belongs to the cage itself");
        const auto kind = host_.kind(path);
        if (kind == PathKind::absent) refuse(Errc::not_found, "is not on this host");
        if (kind == PathKind::link) refuse(Errc::invalid, "is a symbolic link: name the device");
        if (kind != PathKind::device) refuse(Errc::invalid, "is no device node");
    }

    void mounts() {
        for (const auto& mount : out_.mounts) place(mount);
        for (const auto& mount : out_.mounts)
            if (mount.kind == Mount::Kind::hidden_folder) words({"--remount-ro", mount.target});
    }

    void place(const Mount& mount) {
        switch (mount.kind) {
            case Mount::Kind::bind_ro:
            case Mount::Kind::bind_rw:
            case Mount::Kind::overlay:
                return bind(mount);
            case Mount::Kind::tmpfs:
                return words(
                    {"--perms", mount.target == "/tmp" ? "1777" : "0700", "--size",
                     std::to_string(private_size()), "--tmpfs", mount.target}
                );
            case Mount::Kind::hidden_folder:
                return words({"--perms", "0555", "--size", "4096", "--tmpfs", mount.target});
            case Mount::Kind::hidden_file:
                words({"--perms", "0444", "--ro-bind-data"});
                data({});
                return words({mount.target});
            case Mount::Kind::proc:
            case Mount::Kind::dev:
                return;
        }
    }

    /// `limits.disk` is for all private writable folders together; a tmpfs has its own size only,
    /// so each gets its share.
    std::uint64_t private_size() const {
        std::uint64_t count = 0;
        for (const auto& mount : out_.mounts)
            if (mount.kind == Mount::Kind::tmpfs) ++count;
        // tmpfs takes size=0 for "no limit": never less than a page.
        return std::max<std::uint64_t>(out_.limits.disk->value / count, 4096);
    }

    std::uint16_t add_source(Source source) {
        out_.sources.push_back(std::move(source));
        return static_cast<std::uint16_t>(first_source_index(spec_) + out_.sources.size() - 1);
    }

    /// `option` ("--bind", "--ro-bind") of that descriptor; its target comes next.
    void bind_source(std::string_view option, std::uint16_t index) {
        words({std::string(option) + (spec_.bind_by_fd ? "-fd" : "")});
        const auto kind = spec_.bind_by_fd ? Argument::Kind::fd : Argument::Kind::fd_path;
        out_.options.push_back({kind, {}, index});
    }

    void bind(const Mount& mount) {
        const auto index = add_source({mount.source, mount.root, mount.rule});
        if (mount.kind == Mount::Kind::overlay)
            out_.overlays.push_back({index, mount.target, mount.source, mount.root, mount.rule});
        bind_source(mount.kind == Mount::Kind::bind_ro ? "--ro-bind" : "--bind", index);
        words({mount.target});
    }

    void command() {
        auto& out = out_.command;
        const auto text = [&](std::string word) {
            out.push_back({Argument::Kind::text, std::move(word), 0});
        };
        text(kInitPath);
        text("--sync");
        out.push_back({Argument::Kind::sync, {}, 0});
        if (spec_.signals) {
            text("--signals");
            out.push_back({Argument::Kind::fd, {}, 3});
        }
        const auto option = [&](const char* name, std::string value) {
            text(name);
            text(std::move(value));
        };
        option("--files", std::to_string(*out_.limits.files));
        option("--processes", std::to_string(*out_.limits.pids));
        if (spec_.memory_by_rlimit) option("--data", std::to_string(out_.limits.memory->value));
        if (!seccomp_.inner.empty()) {
            text("--seccomp");
            out.push_back({Argument::Kind::data, {}, static_cast<std::uint16_t>(out_.data.size())});
            out_.data.push_back(std::move(seccomp_.inner));
        }
        if (spec_.notify) option("--listener", "1");
        option("--landlock", "auto");
        option("--writable", "/dev/shm");
        for (const auto& mount : out_.mounts) {
            const bool writable = mount.kind == Mount::Kind::bind_rw ||
                                  mount.kind == Mount::Kind::overlay ||
                                  mount.kind == Mount::Kind::tmpfs;
            if (writable) option("--writable", mount.target);
            if (mount.guarded) option(writable ? "--mounted" : "--sealed", mount.target);
        }
        text("--");
        for (const auto& word : spec_.argv) text(word);
    }

    const CageSpec& spec_;
    const HostView& host_;
    SeccompPrograms seccomp_;
    CompiledCage out_;
};

UniqueFd open_beneath(const Source& source) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_NO_MAGICLINKS;
    UniqueFd root;
    auto path = source.path;
    if (!source.root.empty()) {
        if (!is_beneath(source.path, source.root))
            throw Error(
                Errc::invalid,
                fmt::format(
                    "{}: \"{}\" is outside of \"{}\"", source.rule, source.path, source.root
                )
            );
        root.reset(::open(source.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!root) throw_errno("open", source.root);
        // What agents write to: a link there would choose what is bound, be it a protected path.
        how.resolve |= RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
        path = path.substr(std::min(path.size(), source.root.size()));
        path.erase(0, path.find_first_not_of('/'));
        if (path.empty()) path = ".";
    }
    return UniqueFd(static_cast<int>(
        ::syscall(SYS_openat2, root ? root.get() : AT_FDCWD, path.c_str(), &how, sizeof how)
    ));
}

}  // namespace

PathKind RealHost::kind(const std::string& path) const {
    struct stat info{};
    if (::lstat(path.c_str(), &info) < 0) return PathKind::absent;
    if (S_ISLNK(info.st_mode)) return PathKind::link;
    if (S_ISDIR(info.st_mode)) return PathKind::folder;
    if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) return PathKind::device;
    return S_ISREG(info.st_mode) ? PathKind::file : PathKind::other;
}

std::vector<std::string> RealHost::folders(const std::string& path) const {
    std::vector<std::string> out;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(path, failed))
        if (entry.symlink_status(failed).type() == std::filesystem::file_type::directory)
            out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
}

std::string RealHost::link_target(const std::string& path) const {
    std::array<char, 4096> text{};
    const auto size = ::readlink(path.c_str(), text.data(), text.size());
    return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

std::size_t first_source_index(const CageSpec& spec) noexcept { return spec.signals ? 4 : 3; }

CompiledCage compile(const CageSpec& spec, const HostView& host) {
    return Builder(spec, host).build();
}

std::vector<UniqueFd> open_sources(const std::vector<Source>& sources) {
    std::vector<UniqueFd> out;
    out.reserve(sources.size());
    for (const auto& source : sources) {
        out.push_back(open_beneath(source));
        if (out.back()) continue;
        const int error = errno;
        const auto code = error == ENOENT  ? Errc::not_found
                          : error == ELOOP ? Errc::denied
                                           : Errc::io;
        const auto* why = error == ELOOP ? "is or lies behind a symbolic link" : ::strerror(error);
        throw Error(code, fmt::format("{}: open \"{}\": {}", source.rule, source.path, why));
    }
    return out;
}

std::string to_text(const std::vector<Argument>& arguments) {
    std::string out;
    for (const auto& argument : arguments) {
        switch (argument.kind) {
            case Argument::Kind::text:
                out += argument.text;
                break;
            case Argument::Kind::fd:
                out += fmt::format("{{fd:{}}}", argument.index);
                break;
            case Argument::Kind::fd_path:
                out += fmt::format("/proc/self/fd/{{fd:{}}}", argument.index);
                break;
            case Argument::Kind::data:
                out += fmt::format("{{data:{}}}", argument.index);
                break;
            case Argument::Kind::sync:
                out += "{sync}";
                break;
            case Argument::Kind::lifeline:
                out += "{lifeline}";
                break;
        }
        out += '\n';
    }
    return out;
}

std::vector<std::string> make_environment(const CagePolicy& policy) {
    std::map<std::string, std::string> env{
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"HOME", kHome},
        {"LANG", "C.UTF-8"},
        {"USER", "agent"},
    };
    for (const auto& [name, value] : policy.env) {
        const bool bad =
            name.empty() || name.find_first_of(std::string_view("=\0", 2)) != name.npos;
        if (bad || value.find('\0') != value.npos)
            throw Error(Errc::invalid, fmt::format("env: \"{}\" cannot be set", name));
        env[name] = value;
    }
    std::vector<std::string> out;
    out.reserve(env.size());
    for (const auto& [name, value] : env) out.push_back(name + "=" + value);
    return out;
}

}  // namespace volary::cage
