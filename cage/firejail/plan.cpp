// SPDX-License-Identifier: Apache-2.0
#include "cage/firejail/plan.hpp"

#include "base/error.hpp"
#include "cage/mounts.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::cage {
namespace {

using wire::Argument;

/// What stays of the host's top: programs read-only, and what firejail itself replaces.
constexpr std::array kOwn{
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/dev", "/sys",
};
/// Below these no bind can be shown.
constexpr std::array kClosed{"/etc", "/proc", "/dev", "/sys"};
constexpr std::array kReadable{
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/tmp",
};
/// The home: private to the cage, and gone with it.
constexpr const char* kPrivate = "/tmp";
/// A name that nothing has: firejail then shows an empty folder in place of the one above it.
constexpr const char* kNothing = "volary-nothing";

bool is_bind(const Mount& mount) {
    return mount.kind == Mount::Kind::bind_ro || mount.kind == Mount::Kind::bind_rw;
}

/// firejail takes some characters for patterns and macros, and refuses others.
bool is_plain(std::string_view path) {
    return std::ranges::all_of(path, [](char c) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        return letter || (c >= '0' && c <= '9') || std::strchr("/._-+@=", c) != nullptr;
    });
}

class Planner {
public:
    Planner(
        const CageSpec& spec, const CompiledCage& compiled, const std::string& program,
        const HostView& host
    )
        : spec_(spec), compiled_(compiled), host_(host) {
        out_.data = compiled.data;
        out_.firejail = {
            program,
            "--quiet",
            "--noprofile",
            "--net=none",
            // No --noroot: in a user namespace that root made nobody could look at the cage's
            // processes any more, neither to count nor to stop them. No capability is left anyway.
            "--caps.drop=all",
            "--nonewprivs",
            "--ipc-namespace",
            "--hostname=cage",
            "--machine-id",
            "--private-dev",
            "--no3d",
            "--nodvd",
            "--noinput",
            "--nosound",
            "--notv",
            "--nou2f",
            "--novideo",
            "--dbus-user=none",
            "--dbus-system=none",
            "--private-etc=alternatives,ca-certificates,group,hosts,ld.so.cache,nsswitch.conf,"
            "passwd,pki,"
            "resolv.conf,ssl",
            // Else /var is read-only and without execution, the project in it, too.
            "--writable-var",
            "--deterministic-exit-code",
            "--deterministic-shutdown",
            "--blacklist=/sys",
        };
    }

    FirejailPlan plan(const std::vector<std::uint16_t>& joins, std::size_t running) {
        running_ = running;
        for (const auto& mount : compiled_.mounts)
            if (is_bind(mount) && mount.rule != "system" && mount.rule != "init") show(mount);
        empty_tops();
        for (const auto* mount : shown_) {
            const bool writable = mount->kind == Mount::Kind::bind_rw;
            // A mount of its own only by the first; the second then makes that one writable.
            if (!writable || mount->guarded) add("--read-only=" + mount->source);
            if (writable) add("--read-write=" + mount->source);
        }
        command(joins);
        return std::move(out_);
    }

private:
    void add(std::string word) { out_.firejail.push_back(std::move(word)); }

    void show(const Mount& mount) {
        const auto& path = mount.source;
        const auto refuse = [&](std::string_view why) {
            throw Error(
                Errc::invalid,
                fmt::format("{}: backend firejail cannot show \"{}\": {}", mount.rule, path, why)
            );
        };
        if (!is_plain(path)) refuse("it has a character that firejail takes for another thing");
        for (const std::string_view closed : kClosed)
            if (is_beneath(path, closed)) refuse(fmt::format("{} is its own", closed));
        if (std::ranges::count(path, '/') < 2) refuse("it is a folder at the top of the host");
        shown_.push_back(&mount);
    }

    /// Whole folders first, so that a bind among them is not hidden again.
    void empty_tops() {
        for (const auto& name : host_.folders("/")) {
            const auto top = "/" + name;
            if (std::ranges::find(kOwn, top) != kOwn.end() || !is_plain(top)) continue;
            add(fmt::format("--whitelist={}/{}", top, kNothing));
        }
        for (const auto* mount : shown_)
            if (!is_beneath(mount->source, "/usr")) add("--whitelist=" + mount->source);
    }

    /// Where a path of the cage is for firejail, which binds nothing at another place.
    std::string on_host(const std::string& path) const {
        const Mount* best = nullptr;
        for (const auto& mount : compiled_.mounts) {
            if (!is_bind(mount) || !is_beneath(path, mount.target)) continue;
            if (best == nullptr || mount.target.size() > best->target.size()) best = &mount;
        }
        if (best != nullptr) return best->source + path.substr(best->target.size());
        return is_beneath(path, kHome) ? kPrivate + path.substr(std::strlen(kHome)) : path;
    }

    void word(std::string text) {
        out_.command.push_back({Argument::Kind::text, std::move(text), 0});
    }
    void descriptor(const char* name, Argument::Kind kind, std::uint16_t index = 0) {
        word(name);
        out_.command.push_back({kind, {}, index});
    }
    std::uint16_t add_data(std::string bytes) {
        out_.data.push_back(std::move(bytes));
        return static_cast<std::uint16_t>(out_.data.size() - 1);
    }

    /// The descriptor of what is bound from `path`.
    std::uint16_t source_of(const std::string& path) const {
        const auto& sources = compiled_.sources;
        const auto found = std::ranges::find(sources, path, &Source::path);
        if (found == sources.end())
            throw Error(Errc::internal, fmt::format("no source \"{}\" of the cage", path));
        const auto index =
            first_source_index(spec_) + static_cast<std::size_t>(found - sources.begin());
        return static_cast<std::uint16_t>(index);
    }

    std::string environment() const {
        std::string out;
        for (const auto& entry : compiled_.env) {
            const bool home = entry == std::string("HOME=") + kHome;
            out.append(home ? std::string("HOME=") + kPrivate : entry).push_back('\0');
        }
        return out;
    }

    void command(const std::vector<std::uint16_t>& joins) {
        out_.command.push_back({Argument::Kind::fd_path, {}, source_of(spec_.init)});
        descriptor("--first", Argument::Kind::lifeline);
        descriptor("--in", Argument::Kind::fd, 0);
        descriptor("--out", Argument::Kind::fd, 1);
        descriptor("--err", Argument::Kind::fd, 2);
        descriptor("--outer", Argument::Kind::data, outer_filter());
        descriptor("--environment", Argument::Kind::data, add_data(environment()));
        for (const auto index : joins) descriptor("--cgroup", Argument::Kind::fd, index);
        word("--folder");
        word(on_host(compiled_.working_directory));
        for (const char* path : kReadable) {
            word("--readable");
            word(path);
        }
        for (const auto* mount : shown_) {
            word("--readable");
            word(mount->source);
            descriptor("--held", Argument::Kind::fd, source_of(mount->source));
            word("--same");
            word(mount->source);
        }
        rest();
    }

    /// bwrap's "--seccomp": it goes on over everything in the cage.
    std::uint16_t outer_filter() const {
        const auto& words = compiled_.options;
        const auto at = std::ranges::find(words, std::string("--seccomp"), &Argument::text);
        if (at == words.end() || at + 1 == words.end())
            throw Error(Errc::internal, "the cage has no filter");
        return (at + 1)->index;
    }

    /// volary-init's own options with the paths of the host, then the command.
    void rest() {
        const auto& words = compiled_.command;
        auto at = words.begin() + 1;
        for (; at != words.end() && at->text != "--"; ++at) {
            const bool place =
                at->text == "--writable" || at->text == "--sealed" || at->text == "--mounted";
            out_.command.push_back(*at);
            const bool processes = at->text == "--processes";
            if ((!place && !processes) || at + 1 == words.end()) continue;
            ++at;
            word(place ? on_host(at->text) : std::to_string(std::stoull(at->text) + running_));
        }
        if (at == words.end() || at + 1 == words.end())
            throw Error(Errc::internal, "the cage has no command");
        out_.command.push_back(*at++);
        word(on_host(at->text));
        out_.command.insert(out_.command.end(), at + 1, words.end());
    }

    const CageSpec& spec_;
    const CompiledCage& compiled_;
    const HostView& host_;
    std::vector<const Mount*> shown_;  ///< in the order of their depth
    std::size_t running_ = 0;
    FirejailPlan out_;
};

}  // namespace

FirejailPlan to_firejail(
    const CageSpec& spec, const CompiledCage& compiled, const std::string& program,
    const std::vector<std::uint16_t>& joins, std::size_t running, const HostView& host
) {
    return Planner(spec, compiled, program, host).plan(joins, running);
}

std::size_t count_user_threads() {
    namespace fs = std::filesystem;
    std::size_t out = 0;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator("/proc", failed)) {
        struct stat info{};
        const auto tasks = entry.path() / "task";
        if (::stat(tasks.c_str(), &info) < 0 || info.st_uid != ::getuid()) continue;
        // Each folder has a link count of 2, and one more for each folder in it.
        out += info.st_nlink > 2 ? info.st_nlink - 2 : 0;
    }
    return out;
}

void fill_firejail(
    const CageSpec& spec, CompiledCage& compiled, const std::string& program, wire::Launch& launch
) {
    auto plan =
        to_firejail(spec, compiled, program, launch.joins, count_user_threads(), RealHost());
    launch.joins.clear();
    launch.launcher = std::move(plan.firejail);
    compiled.command = std::move(plan.command);
    compiled.data = std::move(plan.data);
}

std::string to_text(const FirejailPlan& plan) {
    std::string out;
    for (const auto& word : plan.firejail) out += "firejail " + word + "\n";
    return out + to_text(plan.command);
}

std::string find_firejail_problem(const std::string& program) {
    struct stat info{};
    if (::stat(program.c_str(), &info) < 0 || (info.st_mode & S_ISUID) == 0 || info.st_uid != 0)
        return fmt::format("backend firejail needs \"{}\" to be setuid root", program);
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return "backend firejail gains privileges by a setuid program, and this process gave up "
               "doing "
               "so (no_new_privs), as every daemon does that root started: use it from a volary "
               "that an "
               "ordinary user starts, or use bwrap, native or podman";
    return {};
}

void require_firejail(const std::string& program) {
    if (program.empty())
        throw Error(Errc::unavailable, "firejail (package firejail) is not installed");
    const auto problem = find_firejail_problem(program);
    if (!problem.empty()) throw Error(Errc::unavailable, problem);
}

}  // namespace volary::cage
