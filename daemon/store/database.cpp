// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/database.hpp"

#include "base/error.hpp"

#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

namespace volary::store {
namespace {

// All SQL is literal text of this folder, fewer than 100 statements; the limit only keeps a
// mistake (text pasted into SQL) from growing the cache without end.
constexpr std::size_t kMaxCachedStatements = 128;

// Only a foreign process (a shell on the database) can hold the lock; wait it out for a while.
constexpr int kBusyTimeoutMillis = 5000;

Errc code_of(int extended) noexcept {
    switch (extended) {
        case SQLITE_CONSTRAINT_PRIMARYKEY:
        case SQLITE_CONSTRAINT_UNIQUE:
            return Errc::conflict;
        default:
            break;
    }
    switch (extended & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return Errc::busy;
        case SQLITE_TOOBIG:
            return Errc::too_large;
        case SQLITE_FULL:
        case SQLITE_IOERR:
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN:
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_NOMEM:
        case SQLITE_PERM:
        case SQLITE_INTERRUPT:
            return Errc::unavailable;
        default:
            return Errc::internal;
    }
}

}  // namespace

void FinalizeStatement::operator()(sqlite3_stmt* stmt) const noexcept {
    // Its result repeats the error of the last step(), which was thrown there.
    (void)sqlite3_finalize(stmt);
}

Statement::Statement(Statement&& other) noexcept
    : db_(other.db_),
      stmt_(std::move(other.stmt_)),
      home_(std::exchange(other.home_, nullptr)),
      next_parameter_(other.next_parameter_) {}

Statement::~Statement() {
    if (!stmt_ || home_ == nullptr) return;
    (void)sqlite3_reset(stmt_.get());
    (void)sqlite3_clear_bindings(stmt_.get());
    *home_ = std::move(stmt_);
}

void Statement::check(int code, std::string_view doing) const {
    if (code != SQLITE_OK) db_->fail(code, doing, sqlite3_sql(stmt_.get()));
}

Statement& Statement::bind(std::string_view value) {
    // A null pointer would bind NULL; an empty text is not NULL.
    const char* data = value.data() == nullptr ? "" : value.data();
    // TRANSIENT: the caller's bytes may be gone before step(); a copy is cheaper than the bug.
    check(
        sqlite3_bind_text64(
            stmt_.get(), next_parameter_++, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8
        ),
        "bind"
    );
    return *this;
}

Statement& Statement::bind(std::int64_t value) {
    check(sqlite3_bind_int64(stmt_.get(), next_parameter_++, value), "bind");
    return *this;
}

Statement& Statement::bind_bytes(std::string_view value) {
    const char* data = value.data() == nullptr ? "" : value.data();
    const int place = next_parameter_++;
    check(sqlite3_bind_blob64(stmt_.get(), place, data, value.size(), SQLITE_TRANSIENT), "bind");
    return *this;
}

Statement& Statement::bind_null() {
    check(sqlite3_bind_null(stmt_.get(), next_parameter_++), "bind");
    return *this;
}

Statement& Statement::bind_optional(std::string_view value) {
    return value.empty() ? bind_null() : bind(value);
}

bool Statement::step() {
    const int code = sqlite3_step(stmt_.get());
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    db_->fail(code, "run", sqlite3_sql(stmt_.get()));
}

void Statement::exec() {
    if (step()) throw Error(Errc::internal, "statement without rows gave one");
}

void Statement::reset() noexcept {
    // Its result repeats the error of the last step(), which was thrown there.
    (void)sqlite3_reset(stmt_.get());
    next_parameter_ = 1;
}

std::string_view Statement::view(int column) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(stmt_.get(), column));
    if (data == nullptr) return {};
    // The text call comes first: it may convert, and the size is that of what it gave.
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(stmt_.get(), column));
    return {data, size};
}

std::string_view Statement::bytes(int column) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(stmt_.get(), column));
    if (data == nullptr) return {};
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(stmt_.get(), column))};
}

std::string Statement::text(int column) const { return std::string(view(column)); }

std::int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(stmt_.get(), column);
}

bool Statement::is_null(int column) const {
    return sqlite3_column_type(stmt_.get(), column) == SQLITE_NULL;
}

void Database::Close::operator()(sqlite3* db) const noexcept { (void)sqlite3_close_v2(db); }

Database::Database(const std::string& path, OpenMode mode) : path_(path) {
    // NOMUTEX: one thread at a time uses a connection, which the worker holds.
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= mode == OpenMode::read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    sqlite3* raw = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
    db_.reset(raw);
    if (code != SQLITE_OK) fail(code, "open", path);
    sqlite3_busy_timeout(raw, kBusyTimeoutMillis);
    // 512 KiB of page cache a connection: the operating system caches the file anyway, and an
    // idle daemon is to stay around ten megabytes.
    exec(
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA cache_size = -512;"
        "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
    );
}

Database::~Database() = default;

Statement Database::prepare(std::string_view sql) {
    auto entry = cache_.find(sql);
    if (entry != cache_.end() && entry->second) {
        return {*this, std::move(entry->second), &entry->second};
    }
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(
        db_.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &raw,
        nullptr
    );
    StatementHandle stmt(raw);
    if (code != SQLITE_OK) fail(code, "prepare", sql);
    if (entry != cache_.end() || cache_.size() >= kMaxCachedStatements)
        return {*this, std::move(stmt), nullptr};
    entry = cache_.emplace(std::string(sql), nullptr).first;
    return {*this, std::move(stmt), &entry->second};
}

void Database::exec(const char* sql) {
    const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) fail(code, "run", sql);
}

bool Database::try_exec(const char* sql) noexcept {
    return sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK;
}

std::int64_t Database::integer(std::string_view sql) {
    auto stmt = prepare(sql);
    return stmt.step() ? stmt.integer(0) : 0;
}

std::int64_t Database::changes() const noexcept { return sqlite3_changes64(db_.get()); }

bool Database::in_transaction() const noexcept { return sqlite3_get_autocommit(db_.get()) == 0; }

void Database::interrupt() noexcept {
    interrupted_ = true;
    sqlite3_interrupt(db_.get());
}

void Database::release_memory() noexcept { (void)sqlite3_db_release_memory(db_.get()); }

void Database::copy_to(const std::string& path) {
    sqlite3* raw = nullptr;
    const int opened = sqlite3_open_v2(
        path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE,
        nullptr
    );
    const std::unique_ptr<sqlite3, Close> target(raw);
    if (opened != SQLITE_OK) fail(opened, "create", path);
    // SQLite's own backup reads what is still in the WAL too, which a copy of the file would miss.
    sqlite3_backup* backup = sqlite3_backup_init(raw, "main", db_.get(), "main");
    if (backup == nullptr) fail(sqlite3_errcode(raw), "copy the database to", path);
    (void)sqlite3_backup_step(backup, -1);
    const int code = sqlite3_backup_finish(backup);
    if (code != SQLITE_OK) fail(code, "copy the database to", path);
}

void Database::fail(int code, std::string_view doing, std::string_view subject) const {
    // The connection's message belongs to its latest failure; for another code it would mislead.
    const bool latest = db_ && sqlite3_extended_errcode(db_.get()) == code;
    const char* words = latest ? sqlite3_errmsg(db_.get()) : sqlite3_errstr(code);
    const bool damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
    const auto advice = damaged ? fmt::format(": \"{}\" is damaged; {}", path_, kAfterDamage) : "";
    throw Error(code_of(code), fmt::format("{} \"{}\": {}{}", doing, subject, words, advice));
}

Transaction::Transaction(Database& db) : db_(db) { db_.prepare("BEGIN IMMEDIATE").exec(); }

Transaction::~Transaction() {
    // A failed rollback loses nothing: SQLite has then already rolled back on its own.
    if (open_) (void)db_.try_exec("ROLLBACK");
}

void Transaction::commit() {
    db_.prepare("COMMIT").exec();
    open_ = false;
}

Savepoint::Savepoint(Database& db) : db_(db) { db_.prepare("SAVEPOINT one").exec(); }

Savepoint::~Savepoint() {
    // After a disk-full or I/O error SQLite may have ended the whole transaction already.
    if (open_ && db_.in_transaction()) (void)db_.try_exec("ROLLBACK TO one; RELEASE one");
}

void Savepoint::rollback() {
    db_.prepare("ROLLBACK TO one").exec();
    release();
}

void Savepoint::release() {
    db_.prepare("RELEASE one").exec();
    open_ = false;
}

}  // namespace volary::store
