// SPDX-License-Identifier: Apache-2.0
#include "cage/init/landlock.hpp"

#include "base/unique_fd.hpp"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace volary::cage {
namespace {

// From include/uapi/linux/landlock.h of Linux 6.18; Debian 12's header stops at ABI 2. ABI 7 adds
// flags for audit records only, which stay as they are by default: none for the command's own
// calls.
struct RulesetAttribute {
    std::uint64_t handled_access_fs;
    std::uint64_t handled_access_net;  // ABI 4
    std::uint64_t scoped;              // ABI 6
};
struct [[gnu::packed]] PathBeneath {
    std::uint64_t allowed_access;
    std::int32_t parent_fd;
};
constexpr unsigned kCreateVersion = 1U << 0U;
constexpr int kRulePathBeneath = 1;
constexpr std::uint64_t kExecute = 1U << 0U;
constexpr std::uint64_t kWriteFile = 1U << 1U;
constexpr std::uint64_t kReadFile = 1U << 2U;
constexpr std::uint64_t kReadDir = 1U << 3U;
constexpr std::uint64_t kAbi1 = (1U << 13U) - 1;        // up to MAKE_SYM
constexpr std::uint64_t kRefer = 1U << 13U;             // ABI 2
constexpr std::uint64_t kTruncate = 1U << 14U;          // ABI 3
constexpr std::uint64_t kIoctlDevice = 1U << 15U;       // ABI 5
constexpr std::uint64_t kScopeAbstractUnix = 1U << 0U;  // ABI 6
constexpr std::uint64_t kScopeSignal = 1U << 1U;        // ABI 6
/// Rights that a rule on a file, not a folder, may have.
constexpr std::uint64_t kFileRights = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDevice;

std::uint64_t handled_rights(int abi) {
    std::uint64_t rights = kAbi1;
    if (abi >= 2) rights |= kRefer;
    if (abi >= 3) rights |= kTruncate;
    if (abi >= 5) rights |= kIoctlDevice;
    return rights;
}

StepResult allow(int ruleset, const char* path, std::uint64_t rights) {
    const UniqueFd folder(::open(path, O_PATH | O_CLOEXEC));
    if (!folder) return step_error("open for Landlock", path);
    struct stat info{};
    if (::fstat(folder.get(), &info) == 0 && !S_ISDIR(info.st_mode)) rights &= kFileRights;
    const PathBeneath rule{rights, folder.get()};
    if (::syscall(SYS_landlock_add_rule, ruleset, kRulePathBeneath, &rule, 0) < 0)
        return step_error("add Landlock rule", path);
    return {};
}

StepResult allow_reading(int ruleset, const std::vector<std::string>& readable) {
    constexpr auto kRead = kExecute | kReadFile | kReadDir;
    if (readable.empty()) return allow(ruleset, "/", kRead);
    for (const auto& path : readable) {
        auto failed = allow(ruleset, path.c_str(), kRead);
        // Not every host has each of the usual folders.
        if (failed && failed->error != ENOENT) return failed;
    }
    return {};
}

/// `echo > /dev/stdout` opens the file behind descriptor 1 anew, wherever it lives.
StepResult allow_stdio(int ruleset, std::uint64_t rights) {
    for (const char* path : {"/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"}) {
        struct stat info{};
        if (::stat(path, &info) < 0) continue;
        // Pipes and sockets are not restricted; the kernel refuses rules on them.
        if (!S_ISREG(info.st_mode) && !S_ISCHR(info.st_mode)) continue;
        if (auto failed = allow(ruleset, path, rights)) return failed;
    }
    return {};
}

}  // namespace

int landlock_abi() noexcept {
    const auto abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kCreateVersion);
    return abi > 0 ? static_cast<int>(abi) : 0;
}

StepResult apply_landlock(const InitOptions& options) {
    const int abi = landlock_abi();
    if (abi == 0 || !options.landlock) return {};
    const auto all = handled_rights(abi);
    RulesetAttribute attribute{all, 0, abi >= 6 ? kScopeAbstractUnix | kScopeSignal : 0};
    // Older kernels refuse a structure with fields that they do not know.
    const std::size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    const UniqueFd ruleset(
        static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attribute, size, 0))
    );
    if (!ruleset) return step_error("create Landlock ruleset");
    if (auto failed = allow_reading(ruleset.get(), options.readable)) return failed;
    const auto device = kReadFile | kWriteFile | kReadDir | (all & (kTruncate | kIoctlDevice));
    if (auto failed = allow(ruleset.get(), "/dev", device)) return failed;
    for (const auto& path : options.writable)
        if (auto failed = allow(ruleset.get(), path.c_str(), all)) return failed;
    if (auto failed = allow_stdio(ruleset.get(), device)) return failed;
    if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) < 0)
        return step_error("enter Landlock ruleset");
    return {};
}

}  // namespace volary::cage
