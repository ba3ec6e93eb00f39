// SPDX-License-Identifier: Apache-2.0
#include "base/policy.hpp"

#include <array>

#include <fmt/format.h>

namespace volary {

CageLimits default_limits() {
    CageLimits limits;
    // Generous for a compiler run, small enough that one agent cannot take a common host down.
    limits.memory = ByteCount{std::uint64_t{2} << 30U};
    limits.pids = 512;
    limits.disk = ByteCount{std::uint64_t{1} << 30U};
    limits.files = 4096;
    return limits;
}

std::string origin_of(const Origins& origins, const std::string& key) {
    const auto found = origins.find(key);
    return found == origins.end() ? std::string() : found->second;
}

std::string named_key(const Origins& origins, const std::string& key) {
    const auto origin = origin_of(origins, key);
    return origin.empty() ? key : fmt::format("{} ({})", key, origin);
}

std::string_view to_string(FsMode mode) noexcept {
    switch (mode) {
        case FsMode::ro:
            return "ro";
        case FsMode::rw:
            return "rw";
        case FsMode::cow:
            return "cow";
        case FsMode::tmp:
            return "tmp";
        case FsMode::hide:
            return "hide";
    }
    return "ro";
}

std::string_view to_string(CageState state) noexcept {
    return state == CageState::kept ? "kept" : "ephemeral";
}

std::string_view to_string(CageBackend backend) noexcept {
    switch (backend) {
        case CageBackend::bwrap:
            return "bwrap";
        case CageBackend::native:
            return "native";
        case CageBackend::podman:
            return "podman";
        case CageBackend::firejail:
            return "firejail";
    }
    return "bwrap";
}

std::span<const std::string_view> layer_names() noexcept {
    // Each is something that a host may lack; what every backend always gives needs no word.
    static constexpr std::array<std::string_view, 10> kNames{"landlock", "seccomp", "notify",
                                                             "network",  "cgroup",  "memory",
                                                             "swap",     "cpu",     "pids",
                                                             "disk"};
    return kNames;
}

bool matches_name(const NetRule& rule, std::string_view name) {
    switch (rule.kind) {
        case NetRule::Kind::name:
        case NetRule::Kind::host:
            return name == rule.host;
        case NetRule::Kind::wildcard:
            return name.size() > rule.host.size() + 1 && name.ends_with(rule.host) &&
                   name[name.size() - rule.host.size() - 1] == '.';
        case NetRule::Kind::address:
        case NetRule::Kind::cidr:
            return false;
    }
    return false;
}

}  // namespace volary
