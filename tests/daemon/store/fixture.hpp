// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.hpp"
#include "daemon/store/store.hpp"

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace volary::store::test {

/// A folder below `base` (the system's temporary one) that goes with this object.
class TempFolder {
public:
    TempFolder() : TempFolder(std::filesystem::temp_directory_path()) {}
    explicit TempFolder(const std::filesystem::path& base) {
        auto name = (base / "volary-store-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp", name);
        path_ = name;
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::string file(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// Runs the loop until `task` has ended (at most a minute), rethrows its error.
template <class T>
T await(asio::io_context& loop, asio::awaitable<T> task) {
    std::exception_ptr failed;
    std::optional<T> result;
    asio::co_spawn(loop, std::move(task), [&](const std::exception_ptr& error, T value) {
        failed = error;
        result.emplace(std::move(value));
    });
    loop.restart();
    loop.run_for(std::chrono::minutes(1));
    if (!result) throw std::runtime_error("the task did not end in time");
    if (failed) std::rethrow_exception(failed);
    return std::move(*result);
}

inline void await(asio::io_context& loop, asio::awaitable<void> task) {
    std::exception_ptr failed;
    bool ended = false;
    asio::co_spawn(loop, std::move(task), [&](const std::exception_ptr& error) {
        failed = error;
        ended = true;
    });
    loop.restart();
    loop.run_for(std::chrono::minutes(1));
    if (!ended) throw std::runtime_error("the task did not end in time");
    if (failed) std::rethrow_exception(failed);
}

inline Event make_event(const SessionId& session, std::int64_t seq) {
    Event event;
    event.session = session;
    event.seq = seq;
    event.at = 1'700'000'000'000 + seq;
    event.kind = "message.user";
    event.actor = "operator:test";
    event.body = R"({"n":)" + std::to_string(seq) + "}";
    return event;
}

inline SessionRow make_session(const SessionId& session, std::string status = "idle") {
    SessionRow row;
    row.id = session;
    row.project = "music-site";
    row.title = "first";
    row.status = std::move(status);
    row.created_at = 1'700'000'000'000;
    row.updated_at = 1'700'000'000'000;
    row.state = "{}";
    return row;
}

/// `count` events from `first` on; with the session's row when it is the first append.
inline Append make_append(const SessionId& session, std::int64_t first, std::int64_t count = 1) {
    Append append;
    append.session = session;
    for (auto seq = first; seq < first + count; ++seq)
        append.events.push_back(make_event(session, seq));
    if (first == 1) append.session_row = make_session(session);
    return append;
}

}  // namespace volary::store::test
