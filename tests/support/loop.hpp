// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/error.hpp"

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

/// What tests of coroutines share: a loop with a deadline, a folder that goes with the test.
namespace volary::test {

/// The longest that one wait of a test may take, sanitizers on a busy machine included.
constexpr std::chrono::seconds kDeadline{30};

/// A folder below the system's temporary one that goes with this object.
class TempFolder {
public:
    TempFolder() {
        auto name = (std::filesystem::temp_directory_path() / "volary-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp", name);
        path_ = name;
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::string& path() const { return path_; }

    /// Writes a file, its folders included; gives its path.
    std::string write(const std::string& name, std::string_view text) const {
        const auto file = std::filesystem::path(path_) / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << text;
        return file.string();
    }

private:
    std::string path_;
};

/// A loop of its own for one test.
class Loop {
public:
    asio::any_io_executor executor() { return context_.get_executor(); }

    /// Runs until `task` has ended, rethrows its error.
    template <class T>
    T run(asio::awaitable<T> task) {
        std::exception_ptr failed;
        std::optional<T> result;
        bool ended = false;
        asio::co_spawn(context_, std::move(task), [&](const std::exception_ptr& error, T value) {
            failed = error;
            result.emplace(std::move(value));
            ended = true;
        });
        run_until(ended);
        if (failed) std::rethrow_exception(failed);
        return std::move(*result);
    }

    void run(asio::awaitable<void> task) {
        std::exception_ptr failed;
        bool ended = false;
        asio::co_spawn(context_, std::move(task), [&](const std::exception_ptr& error) {
            failed = error;
            ended = true;
        });
        run_until(ended);
        if (failed) std::rethrow_exception(failed);
    }

    /// Starts a task that is run by the next calls; its end is told through what it writes.
    void start(asio::awaitable<void> task) {
        asio::co_spawn(context_, std::move(task), [](const std::exception_ptr& error) {
            if (error) std::rethrow_exception(error);
        });
    }

    /// Runs until `condition` is true or nothing has happened for too long.
    template <class Condition>
    void run_while_not(Condition condition) {
        context_.restart();
        const auto until = std::chrono::steady_clock::now() + kDeadline;
        while (!condition()) {
            if (context_.run_one_until(until) == 0)
                throw std::runtime_error("what the test waits for did not happen in time");
        }
    }

    /// Runs what is ready now and does not wait.
    void poll() {
        context_.restart();
        context_.poll();
    }

private:
    void run_until(const bool& ended) {
        run_while_not([&ended] { return ended; });
    }

    asio::io_context context_;
};

}  // namespace volary::test
