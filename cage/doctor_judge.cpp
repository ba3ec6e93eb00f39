// SPDX-License-Identifier: Apache-2.0
#include "base/json_text.hpp"
#include "cage/doctor.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>

namespace volary::cage {
namespace {

constexpr std::string_view kNoFix = "do not run agents here; please report this";

/// An attack inside the cage and the results that mean that the layer held, separated by spaces.
struct Attack {
    std::string_view key, name, layer, held;
};
constexpr std::array kAttacks{
    Attack{"mount", "mount(2)", "seccomp", "EPERM"},
    Attack{"ptrace", "ptrace of another process", "seccomp", "EPERM"},
    Attack{"keyctl", "kernel keyrings", "seccomp", "EPERM"},
    Attack{"userfaultfd", "userfaultfd", "seccomp", "EPERM"},
    Attack{"io_uring", "io_uring", "seccomp", "EPERM"},
    Attack{"clone3", "clone3", "seccomp", "ENOSYS"},
    Attack{"tiocsti", "typing into a terminal", "seccomp", "EPERM"},
    Attack{"vsock", "AF_VSOCK socket", "seccomp", "EAFNOSUPPORT"},
    Attack{"packet", "AF_PACKET socket", "seccomp", "EAFNOSUPPORT"},
    Attack{"i386", "calls of another architecture", "seccomp", "SIGSYS"},
    Attack{"userns", "nested user namespace", "namespaces", "EPERM ENOSPC"},
    Attack{"hostname", "host's name", "namespaces", "cage"},
    Attack{"CapEff", "effective capabilities", "privileges", "0000000000000000"},
    Attack{"CapPrm", "permitted capabilities", "privileges", "0000000000000000"},
    Attack{"CapInh", "inheritable capabilities", "privileges", "0000000000000000"},
    Attack{"CapAmb", "ambient capabilities", "privileges", "0000000000000000"},
    Attack{"NoNewPrivs", "no_new_privs", "privileges", "1"},
    Attack{"descriptors", "inherited descriptors", "privileges", "0"},
    Attack{"root", "writing to the root", "files", "EROFS EACCES"},
    Attack{"usr", "writing to /usr", "files", "EROFS EACCES"},
    Attack{"shadow", "/etc/shadow", "files", "ENOENT"},
    Attack{"machine-id", "/etc/machine-id", "files", "ENOENT"},
    Attack{"sys", "/sys", "files", "ENOENT EACCES"},
    Attack{"kcore", "/proc/kcore", "files", "EACCES EPERM ENOENT"},
    Attack{"sysctl", "writing to /proc/sys", "files", "EROFS EACCES EPERM"},
    Attack{"devices", "network devices", "network", "lo"},
    Attack{
        "address", "connecting to an address", "network", "ECONNREFUSED ENETUNREACH EHOSTUNREACH"
    },
    Attack{
        "metadata", "connecting to a metadata service", "network",
        "ECONNREFUSED ENETUNREACH EHOSTUNREACH"
    },
};

bool holds(std::string_view held, std::string_view result) {
    while (!held.empty()) {
        const auto end = std::min(held.find(' '), held.size());
        if (held.substr(0, end) == result) return true;
        held.remove_prefix(std::min(end + 1, held.size()));
    }
    return false;
}

std::string result_of(const DoctorFacts& facts, std::string_view key) {
    const auto found = facts.inside.find(key);
    return found == facts.inside.end() ? std::string() : found->second;
}

DoctorCheck check(
    std::string name, std::string layer, bool held, std::string detail,
    std::string_view fix = kNoFix
) {
    return {
        std::move(name), std::move(layer), held ? "ok" : "broken", std::move(detail),
        held ? std::string() : std::string(fix)
    };
}

DoctorCheck missing(std::string name, std::string layer, std::string detail, std::string fix) {
    return {std::move(name), std::move(layer), "missing", std::move(detail), std::move(fix)};
}

DoctorCheck judge_attack(const DoctorFacts& facts, const Attack& attack) {
    const auto result = result_of(facts, attack.key);
    const bool held = holds(attack.held, result);
    std::string detail = result.empty() ? "the probe did not come so far" : result;
    return check(std::string(attack.name), std::string(attack.layer), held, std::move(detail));
}

DoctorCheck judge_landlock(const DoctorFacts& facts) {
    const auto name = "writing where the mounts allow it";
    if (facts.landlock_abi == 0)
        return missing(
            name, "landlock", "not on this kernel",
            "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in the list of lsm= at boot"
        );
    const auto result = result_of(facts, "landlock");
    return check(
        name, "landlock", result == "EACCES", fmt::format("ABI {}, {}", facts.landlock_abi, result)
    );
}

/// Without Landlock nothing keeps processes of one cage apart from its first one; volary then
/// tells no refused call, so that nothing is gained there.
DoctorCheck judge_first(const DoctorFacts& facts) {
    const auto name = "memory of the cage's first process";
    const auto result = result_of(facts, "first");
    if (facts.landlock_abi == 0 && result == "ok")
        return missing(name, "landlock", "can be written from inside", "Landlock, as above");
    return check(name, "landlock", result == "EACCES" || result == "EPERM", result);
}

DoctorCheck judge_notify(const DoctorFacts& facts) {
    const auto name = "refused calls are told";
    if (!facts.notify)
        return missing(
            name, "notify", "no listener can be had: refused calls stay refused, untold",
            "Landlock, and no other seccomp listener over the daemon"
        );
    return check(name, "notify", facts.call_told, facts.call_told ? "by denial" : "nothing came");
}

DoctorCheck judge_names(const DoctorFacts& facts) {
    const auto result = result_of(facts, "name");
    return check("a name that no rule allows", "network", result == "rcode 3", result);
}

DoctorCheck judge_listener(const DoctorFacts& facts) {
    const auto name = result_of(facts, "allowed-name");
    const auto result = result_of(facts, "allowed");
    return check(
        "control: a name that a rule allows", "network", result == "ok",
        fmt::format("{} {}", name, result)
    );
}

DoctorCheck judge_processes(const DoctorFacts& facts) {
    // bwrap's first process, the probe, and nothing else.
    const auto result = result_of(facts, "processes");
    const int count = std::atoi(result.c_str());
    return check(
        "processes of the host", "namespaces", count > 0 && count <= 3, result + " to be seen"
    );
}

DoctorCheck judge_pids(const DoctorFacts& facts) {
    const auto result = result_of(facts, "forks");
    return check("more processes than allowed", "limits", result.ends_with("EAGAIN"), result);
}

DoctorCheck judge_memory(const DoctorFacts& facts) {
    const bool held = facts.memory == "oom" || facts.memory == "ENOMEM";
    return check("more memory than allowed", "limits", held, facts.memory);
}

DoctorCheck judge_backend(const DoctorFacts& facts) {
    const auto name = "limits by the kernel";
    if (facts.limits_backend.starts_with("cgroup"))
        return check(name, "limits", true, facts.limits_backend);
    return missing(
        name, "limits",
        facts.limits_backend + ": memory and cpu of the whole cage are sampled only",
        "start the daemon by systemd with Delegate=yes, or as root (it then drops to the user "
        "volary)"
    );
}

DoctorCheck judge_kill(const DoctorFacts& facts) {
    const auto detail = !facts.lingered ? std::string("there was nothing to kill")
                                        : fmt::format("{} processes left", facts.left);
    return check("outliving the cage", "namespaces", facts.lingered && facts.left == 0, detail);
}

DoctorCheck judge_user(const DoctorFacts& facts) {
    // "      1000        998          1": inside, outside, how many (user_namespaces(7)).
    char* end = nullptr;
    (void)std::strtoul(facts.uid_map.c_str(), &end, 10);
    const auto outside = std::strtoul(end, &end, 10);
    const bool held = !facts.uid_map.empty() && outside == facts.uid && facts.uid != 0;
    return check("the cage's user on the host", "namespaces", held, fmt::format("uid {}", outside));
}

DoctorCheck judge_overlay(const DoctorFacts& facts) {
    if (facts.overlay == "ok") return check("overlay for cow", "files", true, "can be mounted");
    return missing(
        "overlay for cow", "files", "mode: cow cannot be used: " + facts.overlay,
        "a kernel from 5.11 on, with overlayfs for user namespaces"
    );
}

DoctorCheck judge_bwrap(const DoctorFacts& facts) {
    if (facts.bind_by_fd) return check("bwrap", "host", true, facts.bwrap);
    return missing(
        "bwrap", "host",
        facts.bwrap + ", without --bind-fd: a moment is left for swapping a source",
        "apt-get install bubblewrap (0.8.0-2+deb12u1 or later)"
    );
}

/// Only who wants such a back end misses it; one that lets an attack through is broken.
DoctorCheck judge_other(const OtherBackend& other) {
    const auto name = "backend " + other.name;
    if (!other.problem.empty())
        return missing(
            name, "host", other.problem,
            fmt::format(
                "only for policies with backend: {}; docs/cage.md says what it needs", other.name
            )
        );
    std::vector<std::string_view> through;
    for (const auto& attack : kAttacks) {
        const auto found = other.inside.find(attack.key);
        if (found == other.inside.end() || !holds(attack.held, found->second))
            through.push_back(attack.name);
    }
    if (through.empty()) return check(name, "host", true, "a cage of it holds as well");
    return {
        name, "host", "broken", fmt::format("does not hold: {}", fmt::join(through, ", ")),
        std::string(kNoFix)
    };
}

/// std::stable_sort needs what libstdc++ 12 itself calls deprecated.
std::vector<DoctorCheck> by_layer(const std::vector<DoctorCheck>& checks) {
    constexpr std::array kOrder{"host",    "namespaces", "privileges", "files", "landlock",
                                "seccomp", "notify",     "network",    "limits"};
    std::vector<DoctorCheck> out;
    for (const std::string_view layer : kOrder)
        std::ranges::copy_if(checks, std::back_inserter(out), [&](const DoctorCheck& one) {
            return one.layer == layer;
        });
    return out;
}

}  // namespace

ProbeResults parse_probe(std::string_view output) {
    ProbeResults out;
    while (!output.empty()) {
        const auto end = std::min(output.find('\n'), output.size());
        const auto line = output.substr(0, end);
        const auto space = line.find(' ');
        if (space != line.npos) out.emplace(line.substr(0, space), line.substr(space + 1));
        output.remove_prefix(std::min(end + 1, output.size()));
    }
    return out;
}

std::vector<DoctorCheck> judge(const DoctorFacts& facts) {
    std::vector<DoctorCheck> out{
        check("kernel", "host", true, facts.kernel), judge_bwrap(facts), judge_user(facts),
        judge_processes(facts), judge_kill(facts)
    };
    for (const auto& other : facts.others) out.push_back(judge_other(other));
    for (const auto& attack : kAttacks) out.push_back(judge_attack(facts, attack));
    out.push_back(judge_names(facts));
    out.push_back(judge_listener(facts));
    out.push_back(judge_landlock(facts));
    out.push_back(judge_first(facts));
    out.push_back(judge_notify(facts));
    out.push_back(judge_backend(facts));
    out.push_back(judge_pids(facts));
    out.push_back(judge_memory(facts));
    out.push_back(judge_overlay(facts));
    return by_layer(out);
}

bool is_sound(const std::vector<DoctorCheck>& checks) {
    return std::ranges::none_of(checks, [](const auto& one) { return one.verdict == "broken"; });
}

std::string doctor_text(const std::vector<DoctorCheck>& checks) {
    std::string out;
    for (const auto& one : checks) {
        out +=
            fmt::format("{:<8} {:<11} {:<34} {}\n", one.verdict, one.layer, one.name, one.detail);
        if (!one.fix.empty()) out += fmt::format("{:>21}to have it: {}\n", "", one.fix);
    }
    const auto count = [&](std::string_view verdict) {
        return std::ranges::count(checks, verdict, &DoctorCheck::verdict);
    };
    out += fmt::format(
        "{} ok, {} missing, {} broken\n", count("ok"), count("missing"), count("broken")
    );
    return out;
}

std::string doctor_json(const std::vector<DoctorCheck>& checks) {
    std::string list;
    for (const auto& one : checks) {
        list += fmt::format(
            R"({}{{"name":{},"layer":{},"verdict":{},"detail":{},"fix":{}}})",
            list.empty() ? "" : ",", json_quote(one.name), json_quote(one.layer),
            json_quote(one.verdict), json_quote(one.detail), json_quote(one.fix)
        );
    }
    return fmt::format(R"({{"checks":[{}],"ok":{}}})", list, is_sound(checks));
}

}  // namespace volary::cage
