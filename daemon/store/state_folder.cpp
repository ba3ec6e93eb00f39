// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/state_folder.hpp"

#include "base/error.hpp"
#include "daemon/store/migrations.hpp"
#include "daemon/store/wal.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <string_view>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::store {
namespace {

// https://www.sqlite.org/fileformat2.html, "The Database Header".
constexpr std::string_view kMagic{"SQLite format 3\0", 16};
constexpr std::size_t kHeaderSize = 100;
constexpr std::size_t kPageSizeAt = 16;
constexpr std::size_t kPageCountAt = 28;

[[noreturn]] void refuse_folder(const std::string& folder, int error) {
    throw Error(
        Errc::unavailable,
        fmt::format(
            "state folder \"{}\" cannot be written by uid {}: {}; choose another one with --state "
            "or give this user the folder",
            folder, ::geteuid(), std::strerror(error)
        )
    );
}

[[noreturn]] void refuse_file(const std::string& path, std::string_view why) {
    throw Error(
        Errc::unavailable,
        fmt::format(
            "database \"{}\" {}: put back a backup, or move the file away to start empty", path, why
        )
    );
}

/// For what may once have been a database of ours.
[[noreturn]] void refuse_damaged(const std::string& path, std::string_view why) {
    throw Error(
        Errc::unavailable,
        fmt::format(
            "database \"{}\" {}; nothing was changed: put back the newest backup (volary backup "
            "restore FILE) or save what can be read (volary backup salvage)",
            path, why
        )
    );
}

std::string read_pid(int fd) {
    std::array<char, 24> text{};
    const auto size = ::pread(fd, text.data(), text.size(), 0);
    std::string_view digits(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    digits = digits.substr(0, digits.find_first_not_of("0123456789"));
    return digits.empty() ? "unknown" : std::string(digits);
}

std::uint32_t big_endian(const unsigned char* bytes, std::size_t size) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8U | bytes[i];
    return value;
}

/// Throws when an open file is no whole SQLite database; false when it is empty.
bool check_header(int fd, const std::string& path) {
    struct stat info{};
    if (::fstat(fd, &info) != 0) throw_errno("stat", path);
    if (!S_ISREG(info.st_mode)) refuse_file(path, "is not a regular file");
    if (info.st_size == 0) return false;
    std::array<unsigned char, kHeaderSize> header{};
    const auto got = ::pread(fd, header.data(), header.size(), 0);
    if (got < 0) throw_errno("read", path);
    const bool magic = std::memcmp(header.data(), kMagic.data(), kMagic.size()) == 0;
    if (static_cast<std::size_t>(got) < kHeaderSize || !magic)
        refuse_damaged(path, "is not an SQLite database, or its first page is damaged");
    // While there is a WAL, the file may rightly lag behind its header.
    struct stat wal{};
    if (::stat((path + "-wal").c_str(), &wal) == 0 && wal.st_size > 0) return true;
    const std::uint32_t page = big_endian(&header[kPageSizeAt], 2);
    const std::int64_t page_size = page == 1 ? 65'536 : page;  // 1 stands for 65536 there
    const std::int64_t pages = big_endian(&header[kPageCountAt], 4);
    if (info.st_size < page_size * pages) refuse_damaged(path, "is damaged (it was cut short)");
    return true;
}

/// True when there is a database; false for an empty (new) file. Throws when it is neither.
bool check_own_header(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) refuse_folder(folder_of(path), errno);
    return check_header(fd.get(), path);
}

/// Reads the schema and the root page of every table.
void check_tables(Database& db) {
    const auto application = db.integer("PRAGMA application_id");
    const auto objects = db.integer("SELECT count(*) FROM sqlite_schema");
    if (objects > 0 && application != kApplicationId)
        refuse_file(db.path(), "belongs to another program");
    auto tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'");
    while (tables.step())
        (void)db.integer(fmt::format("SELECT 1 FROM \"{}\" LIMIT 1", tables.view(0)));
}

/// Without the advice that the refusal gives itself.
std::string reason_of(const Error& error) {
    const auto& message = error.message();
    return message.substr(0, message.find(fmt::format("; {}", kAfterDamage)));
}

}  // namespace

std::string folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

StateLock StateLock::take(const std::string& folder) {
    std::error_code failed;
    if (!std::filesystem::exists(folder, failed)) {
        std::filesystem::create_directories(folder, failed);
        if (failed) refuse_folder(folder, failed.value());
        // Sessions are private: nobody else has business in here.
        if (::chmod(folder.c_str(), 0700) != 0) refuse_folder(folder, errno);
    }
    const auto path = folder + "/volary.lock";
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) refuse_folder(folder, errno);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) refuse_folder(folder, errno);
        throw Error(
            Errc::busy,
            fmt::format(
                "state folder \"{}\" is in use by another volary (pid {}): stop that one or "
                "choose another folder with --state",
                folder, read_pid(fd.get())
            )
        );
    }
    const auto pid = fmt::format("{}\n", ::getpid());
    if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0)
        refuse_folder(folder, errno);
    return StateLock(std::move(fd));
}

std::unique_ptr<Database> open_database(const std::string& path) {
    const bool existed = check_own_header(path);
    // SQLite ends its reading of a log silently at the first page that does not hold.
    const auto wal = read_wal(path);
    if (existed && !wal.problem.empty())
        refuse_damaged(path, fmt::format("has lost commits: {}", wal.problem));
    std::unique_ptr<Database> db;
    try {
        db = std::make_unique<Database>(path, OpenMode::read_write);
        if (existed) check_tables(*db);
        // It refuses silently, by answering with the mode that stays.
        auto mode = db->prepare("PRAGMA journal_mode = WAL");
        if (!mode.step() || mode.view(0) != "wal")
            throw Error(Errc::unavailable, "the folder's file system does not support WAL");
    } catch (const Error& error) {
        if (error.message().starts_with("database \"")) throw;
        refuse_damaged(path, fmt::format("cannot be opened ({})", reason_of(error)));
    }
    // A group of a thousand appends touches some thousand pages. With less room SQLite spills them
    // to the WAL in mid-transaction and reads them back; an idle worker gives the memory back.
    db->exec("PRAGMA cache_size = -16384");
    // Half the default rate of folding the WAL in: under load each fold costs a sync of the file.
    db->exec("PRAGMA wal_autocheckpoint = 4000");
    // A WAL that once grew (a reader held it) gives its space back.
    db->exec("PRAGMA journal_size_limit = 33554432");
    migrate(*db, migrations());
    return db;
}

std::unique_ptr<Database> open_to_read(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        throw Error(
            Errc::unavailable, fmt::format("cannot read \"{}\": {}", path, std::strerror(errno))
        );
    const bool holds_something = check_header(fd.get(), path);
    auto db = std::make_unique<Database>(path, OpenMode::read_only);
    if (!holds_something || db->integer("PRAGMA application_id") != kApplicationId)
        throw Error(Errc::unavailable, fmt::format("\"{}\" is no database of volary", path));
    return db;
}

}  // namespace volary::store
