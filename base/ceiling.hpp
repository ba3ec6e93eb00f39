// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace volary {

/// The most that any project file of this host may ask for: `[ceiling]` of the operator's config.
/// What is absent is not bounded. A default one bounds devices alone: none may be asked for.
struct CageCeiling {
    /// Each that is set is a maximum.
    CageLimits limits;
    /// Each `net` rule of a policy lies within one of these (covers_target); absent: any may.
    std::optional<std::vector<NetRule>> net;
    bool private_allowed = true;  ///< rules may say `private: true`
    std::vector<std::string> devices;
    bool relaxed_allowed = true;  ///< `seccomp: relaxed`
    /// System calls that `seccomp.add` may name; absent: any.
    std::optional<std::vector<std::string>> seccomp_add;
    bool disabled_allowed = true;                      ///< `cage: disabled`
    std::optional<std::vector<CageBackend>> backends;  ///< absent: any
    /// Credentials that a rule may name, each with the rules it may be sent to; absent: any.
    std::optional<std::map<std::string, std::vector<NetRule>>> credentials;
    bool operator==(const CageCeiling&) const = default;
};

/// One thing that a policy asks for beyond the ceiling.
struct Excess {
    /// Key in the policy: "limits.memory", "net[2]" (index of CagePolicy::net), "devices[0]" ...
    std::string key;
    std::string message;  ///< completes "KEY: ", e.g. "4G: the operator's ceiling is 2G"
    std::string origin;   ///< where a rule was written ("project.yaml:12"); may be empty
    bool operator==(const Excess&) const = default;
};

/// What `policy` asks for beyond `ceiling`, in the order of the policy's fields. Pure. A limit that
/// the policy leaves open is none of it: fill_limits() gives it its bound.
std::vector<Excess> find_excess(const CagePolicy& policy, const CageCeiling& ceiling);

/// The same, a sentence each: "project.yaml:12: limits.memory: 4G: the operator's ceiling is 2G".
std::vector<std::string> exceeding(const CagePolicy& policy, const CageCeiling& ceiling);

/// Gives each limit that is not set the lower of its default and the ceiling; swap stays absent,
/// which is none.
void fill_limits(CageLimits& limits, const CageCeiling& ceiling);

}  // namespace volary
