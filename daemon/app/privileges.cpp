// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/privileges.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "cage/limits.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::app {
namespace {

struct Account {
    uid_t uid = 0;
    gid_t gid = 0;
    std::string home;
};

Account find_account() {
    const auto* user = ::getpwnam(kSystemUser);
    if (user != nullptr && user->pw_uid != 0) return {user->pw_uid, user->pw_gid, user->pw_dir};
    throw Error(
        Errc::denied,
        "volary does not run as root, and the system user \"volary\" that it would become is not "
        "there; make it with: useradd --system --user-group --home-dir /var/lib/volary --shell "
        "/usr/sbin/nologin volary (./run does, from systemd/volary.sysusers)"
    );
}

std::string read_text(const char* path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

bool write_text(const std::string& path, std::string_view text) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    return file &&
           ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// Makes one cgroup folder for the user and enters it. False where the host does not let even root
/// do so: a read-only cgroup file system in a container. The cage then says what it got instead.
bool enter_cgroup(const std::string& folder, const Account& account) {
    if (::mkdir(folder.c_str(), 0755) < 0 && errno != EEXIST) return false;
    if (!write_text(folder + "/cgroup.procs", "0")) {
        (void)::rmdir(folder.c_str());
        return false;
    }
    // Only now: version 2 wants no processes beside children that have controllers.
    const auto parent = folder.substr(0, folder.rfind('/'));
    (void)write_text(parent + "/cgroup.subtree_control", "+memory +pids");
    (void)write_text(parent + "/cgroup.subtree_control", "+cpu");
    bool good = ::lchown(folder.c_str(), account.uid, account.gid) == 0;
    for (const char* name : {"cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"}) {
        const auto path = folder + "/" + name;
        if (::lchown(path.c_str(), account.uid, account.gid) < 0 && errno != ENOENT) good = false;
    }
    return good;
}

void enter_cgroups(const Account& account) {
    const auto folders = cage::cgroup_homes(
        kSystemUser, read_text("/proc/self/cgroup"), read_text("/proc/self/mountinfo")
    );
    for (const auto& folder : folders) {
        if (!enter_cgroup(folder, account))
            log::debug("no cgroup of our own there", {{"folder", folder}});
    }
}

/// Makes the folder with the parents that are missing. One that is there must be the user's
/// already: root does not give away what somebody else may have put in its place.
void make_folder(const OwnFolder& folder, const Account& account) {
    std::error_code ignored;
    const auto parent = std::filesystem::path(folder.path).parent_path();
    std::filesystem::create_directories(parent, ignored);
    if (::mkdir(folder.path.c_str(), folder.mode) == 0) {
        const UniqueFd made(
            ::open(folder.path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        );
        if (made && ::fchownat(made.get(), "", account.uid, account.gid, AT_EMPTY_PATH) == 0)
            return;
        throw_errno("give to the user volary", folder.path);
    }
    struct stat info{};
    if (::lstat(folder.path.c_str(), &info) < 0) throw_errno("make the folder", folder.path);
    if (S_ISDIR(info.st_mode) && info.st_uid == account.uid) return;
    throw Error(
        Errc::denied,
        fmt::format(
            "the folder \"{}\" does not belong to the user volary; give it to that user, or choose "
            "another",
            folder.path
        )
    );
}

void settle(const Account& account) {
    for (const char* name :
         {"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME",
          "SUDO_USER", "SUDO_UID", "SUDO_GID", "MAIL"})
        ::unsetenv(name);
    ::setenv("HOME", account.home.c_str(), 1);
    ::setenv("USER", kSystemUser, 1);
    ::setenv("LOGNAME", kSystemUser, 1);
    // Root's own may name folders that the user cannot read, or must not trust.
    ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    if (::chdir("/") < 0) throw_errno("chdir", "/");
}

void verify_dropped(const Account& account) {
    uid_t uids[3] = {};
    gid_t gids[3] = {};
    if (::getresuid(&uids[0], &uids[1], &uids[2]) < 0) throw_errno("getresuid");
    if (::getresgid(&gids[0], &gids[1], &gids[2]) < 0) throw_errno("getresgid");
    bool dropped = true;
    for (const auto uid : uids) dropped = dropped && uid == account.uid;
    for (const auto gid : gids) dropped = dropped && gid == account.gid;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> sets{};
    if (::syscall(SYS_capget, &header, sets.data()) < 0) throw_errno("read capabilities");
    for (const auto& set : sets)
        dropped = dropped && (set.effective | set.permitted | set.inheritable) == 0;
    // The proof: there must be no way back.
    dropped = dropped && ::setresuid(0, 0, 0) < 0 && ::setresgid(0, 0, 0) < 0;
    if (!dropped)
        throw Error(Errc::internal, "drop to the user volary: this process could still be root");
}

void drop(const Account& account) {
    if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) throw_errno("clear keepcaps");
    (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (::initgroups(kSystemUser, account.gid) < 0) throw_errno("set the groups of", kSystemUser);
    if (::setresgid(account.gid, account.gid, account.gid) < 0) throw_errno("setresgid");
    if (::setresuid(account.uid, account.uid, account.uid) < 0) throw_errno("setresuid");
    verify_dropped(account);
    // No program that a setuid bit raises is ever started by this process or by what it starts.
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) throw_errno("set no_new_privs");
    // The change of uid gave /proc/self to root; it is the user's own process from here on.
    if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) throw_errno("set dumpable");
}

}  // namespace

bool is_root() noexcept { return ::geteuid() == 0 || ::getuid() == 0; }

void become_system_user(const std::vector<OwnFolder>& folders) {
    const auto account = find_account();
    for (const auto& folder : folders) make_folder(folder, account);
    enter_cgroups(account);
    drop(account);
    settle(account);
    log::info("started by root, went on as the system user", {{"user", kSystemUser}});
}

std::vector<OwnFolder> folders_for(
    const std::string& state, const std::vector<std::string>& listen
) {
    std::vector<OwnFolder> out;
    const std::string home = "/var/lib/volary";
    if (state == home || state.starts_with(home + "/")) out.push_back({home, 0750});
    if (!state.empty() && state != home) out.push_back({state, 0700});
    for (const auto& each : listen) {
        if (!each.starts_with("unix:")) continue;
        auto folder = std::filesystem::path(each.substr(5)).parent_path().string();
        // A folder that all share, such as /run or /tmp, is not ours to own.
        if (!folder.empty() && std::filesystem::path(folder).filename() == kSystemUser)
            out.push_back({std::move(folder), 0750});
    }
    return out;
}

}  // namespace volary::app
