// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace volary::store {

class Database;

/// What to do about a damaged database. Which of the two is the operator's choice: a backup is
/// whole and older, what is salvaged is newer and may have gaps.
inline constexpr std::string_view kAfterDamage =
    "stop volary, then put back the newest backup (volary backup restore FILE) or save what can be "
    "read (volary backup salvage)";

struct FinalizeStatement {
    void operator()(sqlite3_stmt* stmt) const noexcept;
};
using StatementHandle = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

/// A prepared statement: bind in order, then step. Its destructor gives it back
/// to the cache of its database, so it must not outlive that.
///
///     auto find = db.prepare("SELECT title FROM session WHERE id = ?1");
///     find.bind(id.str());
///     if (find.step()) title = find.text(0);
class Statement {
public:
    Statement(Statement&& other) noexcept;
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    Statement& operator=(Statement&&) = delete;
    ~Statement();

    Statement& bind(std::string_view value);
    Statement& bind(std::int64_t value);
    Statement& bind_null();
    /// A BLOB.
    Statement& bind_bytes(std::string_view value);
    /// NULL for an empty text.
    Statement& bind_optional(std::string_view value);

    /// True while there is a row to read. Throws Error on any SQLite failure.
    bool step();

    /// For statements without rows; a row is a bug and throws.
    void exec();

    /// For one more execution of the same statement: bind again from the first parameter.
    void reset() noexcept;

    std::string text(int column) const;
    /// Valid until the next step() or the end of the statement. Empty for NULL.
    std::string_view view(int column) const;
    /// The same for a BLOB.
    std::string_view bytes(int column) const;
    std::int64_t integer(int column) const;
    bool is_null(int column) const;

private:
    friend class Database;
    Statement(Database& db, StatementHandle stmt, StatementHandle* home)
        : db_(&db), stmt_(std::move(stmt)), home_(home) {}
    void check(int code, std::string_view doing) const;

    Database* db_;
    StatementHandle stmt_;
    StatementHandle* home_;  ///< the cache's place for it; null when it is not cached
    int next_parameter_ = 1;
};

enum class OpenMode { read_only, read_write };

/// One connection; used by one thread at a time. All its statements end before it does.
class Database {
public:
    /// Opens an existing file (":memory:" and "" are SQLite's own); never creates one on disk.
    /// Sets what every connection of ours has: foreign keys, full sync, a small page cache, no
    /// memory map, a wait when another process holds the lock.
    Database(const std::string& path, OpenMode mode);
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database();

    /// Takes the statement from the cache or compiles it. A statement that is in use (recursion)
    /// is compiled a second time.
    Statement prepare(std::string_view sql);

    /// One or more statements without rows and parameters.
    void exec(const char* sql);
    /// The same for destructors; false when it failed.
    [[nodiscard]] bool try_exec(const char* sql) noexcept;

    /// First column of the first row, e.g. of a PRAGMA; 0 when there is no row.
    std::int64_t integer(std::string_view sql);

    /// Rows that the last INSERT, UPDATE or DELETE touched.
    std::int64_t changes() const noexcept;
    /// False once SQLite has rolled back a transaction on its own (disk full, I/O error).
    bool in_transaction() const noexcept;

    /// From any thread, while the connection is open: check_pages() ends with Error{unavailable},
    /// the one that runs and each one after it.
    void interrupt() noexcept;
    bool interrupted() const noexcept { return interrupted_; }

    /// Gives the page cache's memory back; it fills again with use.
    void release_memory() noexcept;

    /// Writes a consistent copy of this database to `path` (which must not exist) and syncs it.
    void copy_to(const std::string& path);

    const std::string& path() const noexcept { return path_; }

    /// Throws the Error for an SQLite result code: what failed, the SQL or the file, SQLite's
    /// words.
    [[noreturn]] void fail(int code, std::string_view doing, std::string_view subject) const;

private:
    struct Close {
        void operator()(sqlite3* db) const noexcept;
    };
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept {
            return std::hash<std::string_view>{}(text);
        }
    };

    std::string path_;
    std::atomic<bool> interrupted_ = false;
    std::unique_ptr<sqlite3, Close> db_;
    // After db_: statements are finalized before the connection closes.
    std::unordered_map<std::string, StatementHandle, TextHash, std::equal_to<>> cache_;
};

/// BEGIN IMMEDIATE ... COMMIT; rolls back when it is destroyed before commit().
class Transaction {
public:
    explicit Transaction(Database& db);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    /// Returns after the commit is on the disk. A commit that fails has been rolled back.
    void commit();

private:
    Database& db_;
    bool open_ = true;
};

/// A nested transaction; rolls back when it is destroyed before release().
class Savepoint {
public:
    explicit Savepoint(Database& db);
    Savepoint(const Savepoint&) = delete;
    Savepoint& operator=(const Savepoint&) = delete;
    ~Savepoint();

    void release();
    /// Undoes what was done since; throws when even that fails (then the transaction is lost).
    void rollback();

private:
    Database& db_;
    bool open_ = true;
};

}  // namespace volary::store
