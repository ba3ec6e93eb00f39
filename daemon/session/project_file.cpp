// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/project_file.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "daemon/session/live.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::session {
namespace {

constexpr off_t kMaxFile = off_t{1} << 20U;  // what dsl::load_project() reads

struct Opened {
    UniqueFd folder;
    std::string name;
    struct stat info{};
    std::string text;
};

std::string read_all(int fd, const std::string& file, std::size_t size) {
    std::string text(size, '\0');
    std::size_t done = 0;
    while (done < size) {
        const auto got = ::read(fd, text.data() + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw_errno("read", file);
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    text.resize(done);
    return text;
}

Opened open_file(const std::string& file) {
    const auto slash = file.rfind('/');
    if (slash == std::string::npos || slash == 0)
        throw Error(Errc::internal, fmt::format("project file \"{}\" has no folder", file));
    Opened out;
    out.name = file.substr(slash + 1);
    // The folder is a project's: a link in its place must not lead the write elsewhere.
    out.folder.reset(
        ::open(file.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    );
    if (!out.folder) throw_errno("open", file.substr(0, slash));
    constexpr int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    const UniqueFd fd(::openat(out.folder.get(), out.name.c_str(), flags));
    if (!fd && errno == ENOENT)
        throw Error(Errc::not_found, fmt::format("there is no project file \"{}\"", file));
    if (!fd && errno == ELOOP)
        throw Error(Errc::invalid, fmt::format("\"{}\" is a symbolic link", file));
    if (!fd) throw_errno("open", file);
    if (::fstat(fd.get(), &out.info) != 0) throw_errno("stat", file);
    if (!S_ISREG(out.info.st_mode) || out.info.st_size > kMaxFile)
        throw Error(Errc::invalid, fmt::format("\"{}\" is no file of at most 1 MiB", file));
    out.text = read_all(fd.get(), file, static_cast<std::size_t>(out.info.st_size));
    return out;
}

/// Removes a new file on every way out but success.
class NewFile {
public:
    NewFile(int folder, std::string name) : folder_(folder), name_(std::move(name)) {}
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    ~NewFile() {
        if (!name_.empty()) (void)::unlinkat(folder_, name_.c_str(), 0);
    }
    const std::string& name() const noexcept { return name_; }
    void keep() noexcept { name_.clear(); }

private:
    int folder_;
    std::string name_;
};

void write_all(int fd, const std::string& file, std::string_view text) {
    while (!text.empty()) {
        const auto put = ::write(fd, text.data(), text.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) throw_errno("write", file);
        text.remove_prefix(static_cast<std::size_t>(put));
    }
}

void copy_owner_and_mode(int fd, const struct stat& info, const std::string& file) {
    struct stat mine{};
    if (::fstat(fd, &mine) != 0) throw_errno("stat", file);
    const bool same = mine.st_uid == info.st_uid && mine.st_gid == info.st_gid;
    if (!same && ::fchown(fd, info.st_uid, info.st_gid) != 0)
        throw Error(
            Errc::denied, fmt::format(
                              "\"{}\" belongs to uid {}, gid {}: the daemon cannot replace it and "
                              "keep its owner; make the change by hand",
                              file, info.st_uid, info.st_gid
                          )
        );
    if (::fchmod(fd, info.st_mode & 07777U) != 0) throw_errno("set the mode of", file);
}

}  // namespace

std::string read_project_file(const std::string& file) { return open_file(file).text; }

void write_project_file(
    const std::string& file, const std::string& before, const std::string& after
) {
    const auto changed = [&] {
        return Error(
            Errc::conflict, fmt::format("\"{}\" has changed since: look at the diff again", file)
        );
    };
    const auto old = open_file(file);
    if (old.text != before) throw changed();
    NewFile fresh(old.folder.get(), fmt::format(".{}.{}", old.name, random_token(9)));
    constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const UniqueFd fd(::openat(old.folder.get(), fresh.name().c_str(), flags, 0600));
    if (!fd) throw_errno("make a new file beside", file);
    write_all(fd.get(), file, after);
    copy_owner_and_mode(fd.get(), old.info, file);
    if (::fsync(fd.get()) != 0) throw_errno("sync", file);
    // Somebody's editor may have saved meanwhile; what is left is the time of two system calls.
    if (open_file(file).text != before) throw changed();
    if (::renameat(old.folder.get(), fresh.name().c_str(), old.folder.get(), old.name.c_str()) != 0)
        throw_errno("rename onto", file);
    fresh.keep();
    if (::fsync(old.folder.get()) != 0) throw_errno("sync the folder of", file);
}

std::string edit_hash(const std::string& before, const std::string& after) {
    // Against a change that nobody saw, not against somebody who may write the file anyway.
    return hash_of(before) + "-" + hash_of(after);
}

}  // namespace volary::session
