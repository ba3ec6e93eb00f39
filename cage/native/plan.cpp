// SPDX-License-Identifier: Apache-2.0
#include "cage/native/plan.hpp"

#include "base/error.hpp"
#include "cage/mounts.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace volary::cage {
namespace {

using wire::Argument;
using wire::RootStep;
using Kind = wire::RootStep::Kind;

/// What the launcher always does.
constexpr std::array kAlways{
    "--unshare-user", "--disable-userns", "--unshare-pid",     "--unshare-ipc",
    "--unshare-uts",  "--unshare-cgroup", "--die-with-parent", "--clearenv",
};
/// A file without content still costs the kernel about a kilobyte. The supervisor ends a cage that
/// has more than one for so many bytes of `limits.disk`, and tells. It looks four times a second;
/// the kernel's own stop, which tells nobody, is so far off that the supervisor comes first.
constexpr std::uint64_t kBytesPerFile = 4096;
constexpr std::uint64_t kFewestFiles = 16384;
constexpr std::uint64_t kKernelStop = 8;

/// Reads bwrap's options, which name what to make in order, with the mode and size of the next
/// thing before it (bwrap(1)).
class Translator {
public:
    Translator(const std::vector<Argument>& words, std::uint64_t disk)
        : words_(words), files_(kKernelStop * std::max(disk / kBytesPerFile, kFewestFiles)) {}

    wire::Native read() {
        while (at_ < words_.size()) option(text());
        drop_seal_of_devices();
        hold_places();
        return std::move(out_);
    }

private:
    const Argument& next() {
        if (at_ >= words_.size()) throw Error(Errc::internal, "the native plan ends in an option");
        return words_[at_++];
    }
    std::string text() {
        const auto& word = next();
        if (word.kind != Argument::Kind::text)
            throw Error(Errc::internal, "the native plan has a descriptor for an option");
        return word.text;
    }
    std::uint64_t number(int base = 10) { return std::stoull(text(), nullptr, base); }

    void option(const std::string& name) {
        if (std::find(kAlways.begin(), kAlways.end(), name) != kAlways.end()) return;
        // The shim knows it as keep_session.
        if (name == "--new-session") return;
        if (setting(name) || mount(name) || entry(name)) return;
        throw Error(Errc::invalid, fmt::format("backend \"native\" has no step for \"{}\"", name));
    }

    bool setting(const std::string& name) {
        if (name == "--uid") return out_.uid = static_cast<std::uint32_t>(number()), true;
        if (name == "--gid") return out_.gid = static_cast<std::uint32_t>(number()), true;
        if (name == "--hostname") return out_.hostname = text(), true;
        if (name == "--chdir") return out_.folder = text(), true;
        if (name == "--seccomp") return out_.filter = next().index, true;
        if (name == "--perms") return mode_ = static_cast<std::uint32_t>(number(8)), true;
        if (name == "--size") return size_ = number(), true;
        if (name != "--setenv") return false;
        auto entry = text();
        entry += "=" + text();
        out_.env.push_back(std::move(entry));
        return true;
    }

    bool mount(const std::string& name) {
        const bool read_only = name.starts_with("--ro-bind");
        const bool device = name.starts_with("--dev-bind");
        if (name == "--ro-bind-data" || name == "--bind-data") {
            if (!read_only) return false;
            add(Kind::data, next().index);
        } else if (read_only || device || name.starts_with("--bind")) {
            for (const auto* known : {"--ro-bind", "--bind", "--dev-bind"})
                if (name == known || name == std::string(known) + "-fd")
                    return bind(!read_only, device);
            return false;
        } else if (name == "--tmpfs") {
            add(Kind::tmpfs).inodes = files_;
        } else if (name == "--proc") {
            add(Kind::proc);
        } else if (name == "--dev") {
            add(Kind::devices);
        } else if (name == "--remount-ro") {
            add(Kind::seal);
        } else {
            return false;
        }
        return place();
    }

    bool bind(bool writable, bool device) {
        const auto& source = next();
        if (source.kind != Argument::Kind::fd && source.kind != Argument::Kind::fd_path)
            throw Error(Errc::internal, "the native plan binds a path without a descriptor");
        auto& step = add(Kind::bind, source.index);
        step.writable = writable;
        step.device = device;
        return place();
    }

    bool entry(const std::string& name) {
        if (name == "--symlink") {
            auto target = text();
            add(Kind::link).text = std::move(target);
        } else if (name == "--file") {
            add(Kind::file, next().index);
        } else if (name == "--dir") {
            add(Kind::folder);
        } else {
            return false;
        }
        return place();
    }

    RootStep& add(Kind kind, std::uint16_t index = 0) {
        RootStep step;
        step.kind = kind;
        step.index = index;
        step.mode = mode_.value_or(0755);
        step.size = size_.value_or(0);
        mode_.reset();
        size_.reset();
        out_.steps.push_back(std::move(step));
        return out_.steps.back();
    }

    bool place() {
        out_.steps.back().target = text();
        return true;
    }

    /// bwrap's /dev is a mount, ours a folder of the root, and the root is sealed in the end.
    void drop_seal_of_devices() {
        auto& steps = out_.steps;
        const auto devices = [&](const std::string& target) {
            return std::any_of(steps.begin(), steps.end(), [&](const RootStep& step) {
                return step.kind == Kind::devices && step.target == target;
            });
        };
        const auto sealed = std::any_of(steps.begin(), steps.end(), [](const RootStep& step) {
            return step.kind == Kind::seal && step.target == "/";
        });
        if (!sealed) throw Error(Errc::internal, "the native plan leaves the root writable");
        std::erase_if(steps, [&](const RootStep& step) {
            return step.kind == Kind::seal && devices(step.target);
        });
    }

    /// Below a bind nothing is made: it would appear on the host.
    void hold_places() {
        auto& steps = out_.steps;
        for (auto step = steps.begin(); step != steps.end(); ++step) {
            const RootStep* holder = nullptr;
            for (auto other = steps.begin(); other != step; ++other) {
                const bool covers = other->kind == Kind::bind || other->kind == Kind::tmpfs;
                if (!covers || other->target == step->target) continue;
                if (!is_beneath(step->target, other->target)) continue;
                if (holder == nullptr || other->target.size() >= holder->target.size())
                    holder = &*other;
            }
            step->must_exist = holder != nullptr && holder->kind == Kind::bind;
        }
        for (const auto& step : steps)
            if (step.target.empty() || step.target.front() != '/')
                throw Error(Errc::internal, "the native plan has a relative target");
    }

    const std::vector<Argument>& words_;
    const std::uint64_t files_;  ///< of each tmpfs
    std::size_t at_ = 0;
    std::optional<std::uint32_t> mode_;
    std::optional<std::uint64_t> size_;
    wire::Native out_;
};

std::string_view word_of(Kind kind) {
    constexpr std::array<std::string_view, 9> kWords{"folder", "link", "file",    "bind", "data",
                                                     "tmpfs",  "proc", "devices", "seal"};
    return kWords[static_cast<std::size_t>(kind)];
}

}  // namespace

wire::Native to_native(const CompiledCage& compiled) {
    const auto disk = compiled.limits.disk;
    return Translator(compiled.options, disk ? disk->value : 0).read();
}

std::string to_text(const wire::Native& native) {
    auto out = fmt::format(
        "user {}:{}\nhostname {}\nfolder {}\nfilter {{data:{}}}\n", native.uid, native.gid,
        native.hostname, native.folder, native.filter
    );
    for (const auto& entry : native.env) out += fmt::format("env {}\n", entry);
    for (const auto& step : native.steps) {
        out += fmt::format("{} {}", word_of(step.kind), step.target);
        if (!step.text.empty()) out += " -> " + step.text;
        if (step.kind == Kind::bind) {
            const auto* how = step.device ? "device" : step.writable ? "rw" : "ro";
            out += fmt::format(" {{fd:{}}} {}", step.index, how);
        }
        if (step.kind == Kind::file || step.kind == Kind::data)
            out += fmt::format(" {{data:{}}} {:o}", step.index, step.mode);
        if (step.kind == Kind::tmpfs)
            out += fmt::format(" {:o} {} bytes {} files", step.mode, step.size, step.inodes);
        out += step.must_exist ? " (must exist)\n" : "\n";
    }
    return out;
}

}  // namespace volary::cage
