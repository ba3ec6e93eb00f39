// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

class Spawner;

/// One layer, proven on this host.
struct DoctorCheck {
    std::string name;     ///< what was tried, "mount(2)"
    std::string layer;    ///< "seccomp", "network", ...
    std::string verdict;  ///< "ok", "missing" (this host lacks it, cages say so), "broken"
    std::string detail;   ///< what was seen
    std::string fix;      ///< what to install or switch on; empty when there is nothing to do
    bool operator==(const DoctorCheck&) const = default;
};

/// Tries to break each layer in real cages of this spawner, with volary-probe, which lies beside
/// volary-init. A cage that cannot be made is one broken check with its error; it throws only when
/// it is cancelled. Takes about two seconds.
asio::awaitable<std::vector<DoctorCheck>> examine(Spawner& spawner);

/// examine() with a gatekeeper and a spawner of its own, for a program that has none.
asio::awaitable<std::vector<DoctorCheck>> examine_host();

/// False when something is broken; what is missing is a warning.
bool is_sound(const std::vector<DoctorCheck>& checks);

/// A table for people, and {"checks":[{"name","layer","verdict","detail","fix"}],"ok":bool}.
std::string doctor_text(const std::vector<DoctorCheck>& checks);
std::string doctor_json(const std::vector<DoctorCheck>& checks);

/// What volary-probe printed: name -> result.
using ProbeResults = std::map<std::string, std::string, std::less<>>;
ProbeResults parse_probe(std::string_view output);

/// A back end beside the default: tried with the same attacks in one cage.
struct OtherBackend {
    std::string name;     ///< "podman"
    std::string problem;  ///< why no cage came of it; empty: `inside` is what the attacks gave
    ProbeResults inside;
};

/// What the examination learned outside of the cage.
struct DoctorFacts {
    ProbeResults inside;
    bool notify = false;         ///< volary-init gets a listener here
    bool call_told = false;      ///< a refused call of the probe arrived as a denial
    std::string limits_backend;  ///< of CageReport
    std::string memory;          ///< how the memory attack ended: "oom", "ENOMEM", "ok", ...
    std::size_t left = 0;        ///< processes that outlived their cage
    bool lingered = false;       ///< there were some to outlive it
    std::string uid_map;         ///< of the caged process as this one sees it
    std::uint32_t uid = 0;       ///< ours
    std::string overlay;         ///< outcome of the mount
    std::string bwrap;           ///< "bubblewrap 0.8.0"
    bool bind_by_fd = false;
    std::string kernel;
    int landlock_abi = 0;
    std::vector<OtherBackend> others;
};
/// The verdicts. Pure.
std::vector<DoctorCheck> judge(const DoctorFacts& facts);

}  // namespace volary::cage
