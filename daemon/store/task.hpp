// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>

namespace volary::store {

class Database;

/// Work on a connection and the caller who waits for it.
class Task {
public:
    Task() = default;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    virtual ~Task() = default;

    /// On the worker's thread, once; throws what the caller is to get.
    virtual void run(Database& db) = 0;
    /// Resumes the caller on its own executor, with the result of run() or with `error`. Once,
    /// from any thread.
    virtual void finish(std::exception_ptr error) = 0;
};

/// How asio spells a completion that carries an error or a result.
template <class Result>
struct ResultSignature {
    using type = void(std::exception_ptr, Result);
};
template <>
struct ResultSignature<void> {
    using type = void(std::exception_ptr);
};

/// A Task made of `work(Database&)` and an asio completion handler.
template <class Handler, class Work>
class HandlerTask final : public Task {
public:
    HandlerTask(Handler handler, Work work)
        : work_(std::move(work)),
          executor_(asio::prefer(
              asio::get_associated_executor(handler), asio::execution::outstanding_work.tracked
          )),
          handler_(std::move(handler)) {}

    void run(Database& db) override {
        if constexpr (std::is_void_v<Result>)
            work_(db);
        else
            result_.emplace(work_(db));
    }

    void finish(std::exception_ptr error) override {
        if constexpr (std::is_void_v<Result>) {
            auto resume = [handler = std::move(handler_), error = std::move(error)]() mutable {
                std::move(handler)(std::move(error));
            };
            asio::post(executor_, std::move(resume));
        } else {
            if (error || !result_) result_.emplace();
            auto resume = [handler = std::move(handler_), error = std::move(error),
                           result = std::move(*result_)]() mutable {
                std::move(handler)(std::move(error), std::move(result));
            };
            asio::post(executor_, std::move(resume));
        }
    }

private:
    using Result = std::invoke_result_t<Work&, Database&>;
    struct Nothing {};

    Work work_;
    asio::any_io_executor executor_;  // Tracked: the caller's loop does not end while it waits.
    Handler handler_;
    std::conditional_t<std::is_void_v<Result>, Nothing, std::optional<Result>> result_;
};

}  // namespace volary::store
