// SPDX-License-Identifier: Apache-2.0
#include "cage/podman/plan.hpp"

#include "cage/mounts.hpp"
#include "cage/native/plan.hpp"
#include "cage/podman/stage.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace volary::cage {
namespace {

using wire::Argument;
using wire::RootStep;
using Kind = wire::RootStep::Kind;

constexpr const char* kShared = "/dev/shm";
constexpr const char* kCover = "/.volary/proc";

std::string staged(std::string_view path) { return fmt::format("{}/{}", stage::kFolder, path); }

class Planner {
public:
    Planner(const CompiledCage& compiled, const PodmanPrograms& programs)
        : compiled_(compiled), programs_(programs) {
        out_.root = to_native(compiled);
        out_.data = compiled.data;
    }

    PodmanPlan plan(const std::vector<std::uint16_t>& joins) {
        take_steps();
        add_places();
        command(joins);
        podman();
        return std::move(out_);
    }

private:
    /// Podman mounts /proc and shared memory, covers what is named to it, and seals the root; the
    /// kernel would not let anybody write to the root of a live grant if it were sealed before.
    void take_steps() {
        std::vector<RootStep> kept;
        for (auto& step : out_.root.steps) {
            const bool proc = is_beneath(step.target, "/proc");
            if (proc && step.kind == Kind::data) {
                // As a file of the root that is bound once more, where /proc is.
                covers_.push_back(step.target);
                step.target = fmt::format("{}{}", kCover, covers_.size());
                step.kind = Kind::file;
                step.must_exist = false;
                kept.push_back(std::move(step));
                continue;
            }
            if (proc && step.kind != Kind::proc && step.kind != Kind::seal)
                masks_.push_back(step.target);
            if (step.kind == Kind::tmpfs && step.target == kShared) shared_ = step.size;
            const bool root = step.kind == Kind::seal && step.target == "/";
            if (proc || root || step.target == kShared) continue;
            kept.push_back(std::move(step));
        }
        out_.root.steps = std::move(kept);
    }

    std::uint16_t add_data(std::string bytes) {
        out_.data.push_back(std::move(bytes));
        return static_cast<std::uint16_t>(out_.data.size() - 1);
    }

    void add_step(Kind kind, std::string target, std::string text = {}, std::uint16_t data = 0) {
        RootStep step;
        step.kind = kind;
        step.target = std::move(target);
        step.text = std::move(text);
        step.index = data;
        if (kind == Kind::file) step.mode = 0444;
        out_.root.steps.push_back(std::move(step));
    }

    /// What podman would make itself in a root that nobody else holds.
    void add_places() {
        for (const char* folder : {"/proc", "/sys", "/run", kShared})
            add_step(Kind::folder, folder);
        add_step(Kind::link, "/etc/mtab", "/proc/mounts");
        add_step(Kind::file, "/etc/hostname", {}, add_data(out_.root.hostname + "\n"));
        add_step(Kind::file, "/run/.containerenv", {}, add_data({}));
    }

    void word(std::string text) {
        out_.command.push_back({Argument::Kind::text, std::move(text), 0});
    }
    void descriptor(const char* name, Argument::Kind kind, std::uint16_t index = 0) {
        word(name);
        out_.command.push_back({kind, {}, index});
    }

    /// bwrap's part of the work is volary-init's: nothing of podman stands between it and the shim.
    void command(const std::vector<std::uint16_t>& joins) {
        out_.command.push_back(compiled_.command.front());
        descriptor("--first", Argument::Kind::lifeline);
        descriptor("--in", Argument::Kind::fd, 0);
        descriptor("--out", Argument::Kind::fd, 1);
        descriptor("--err", Argument::Kind::fd, 2);
        descriptor("--outer", Argument::Kind::data, out_.root.filter);
        std::string environment;
        for (const auto& entry : compiled_.env) environment.append(entry).push_back('\0');
        descriptor("--environment", Argument::Kind::data, add_data(std::move(environment)));
        for (const auto index : joins) descriptor("--cgroup", Argument::Kind::fd, index);
        word("--folder");
        word(out_.root.folder);
        const auto rest = compiled_.command.begin() + 1;
        out_.command.insert(out_.command.end(), rest, compiled_.command.end());
    }

    void podman() {
        const auto descriptors = std::ranges::count_if(out_.command, [](const Argument& word) {
            return word.kind != Argument::Kind::text;
        });
        const auto user = [](std::uint32_t id) { return fmt::format("{}:0:1", id); };
        out_.podman = {
            programs_.podman, "--root", staged("state"), "--runroot", staged("run"), "--tmpdir",
            staged("tmp"), "--hooks-dir", staged("hooks"), "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs", "--events-backend=none", "--log-level=error", "--runtime",
            programs_.crun, "run", "--log-driver=passthrough", "--network=host",
            // The cgroups are volary's own.
            "--cgroups=disabled", "--cgroupns=private", "--ipc=private", "--pid=private",
            "--uts=private", "--hostname=" + out_.root.hostname, "--uidmap=" + user(out_.root.uid),
            "--gidmap=" + user(out_.root.gid),
            fmt::format("--user={}:{}", out_.root.uid, out_.root.gid), "--cap-drop=all",
            "--security-opt=no-new-privileges", "--security-opt=label=disable",
            // Both of volary's filters are put on by volary-init.
            "--security-opt=seccomp=unconfined", "--ulimit=host",
            fmt::format("--shm-size={}b", shared_), "--read-only", "--read-only-tmpfs=false",
            "--no-hosts", "--passwd=false", "--systemd=false", "--sdnotify=ignore",
            "--sig-proxy=false", "--http-proxy=false", "--workdir=/", volume("dev", "ro,rbind"),
            volume("sys", "ro"), volume("etc/hostname", "ro"), volume("etc/resolv.conf", "ro"),
            volume("run/.containerenv", "ro"), fmt::format("--preserve-fds={}", descriptors),
            "--rootfs", stage::kRoot
        };
        cover_proc();
    }

    void cover_proc() {
        std::vector<std::string> words;
        if (!masks_.empty())
            words.push_back(fmt::format("--security-opt=mask={}", fmt::join(masks_, ":")));
        for (std::size_t i = 0; i < covers_.size(); ++i)
            words.push_back(
                fmt::format("--volume={}{}{}:{}:ro", stage::kRoot, kCover, i + 1, covers_[i])
            );
        // Before `--rootfs` and its folder.
        out_.podman.insert(out_.podman.end() - 2, words.begin(), words.end());
    }

    static std::string volume(std::string_view path, std::string_view how) {
        return fmt::format("--volume={}/{}:/{}:{}", stage::kRoot, path, path, how);
    }

    const CompiledCage& compiled_;
    const PodmanPrograms& programs_;
    std::vector<std::string> masks_;   ///< places of /proc that are covered
    std::vector<std::string> covers_;  ///< and those that say something else
    std::uint64_t shared_ = 0;
    PodmanPlan out_;
};

}  // namespace

PodmanPlan to_podman(
    const CompiledCage& compiled, const PodmanPrograms& programs,
    const std::vector<std::uint16_t>& joins
) {
    return Planner(compiled, programs).plan(joins);
}

std::string to_text(const PodmanPlan& plan) {
    auto out = to_text(plan.root);
    for (const auto& word : plan.podman) out += "podman " + word + "\n";
    return out + to_text(plan.command);
}

}  // namespace volary::cage
