// SPDX-License-Identifier: Apache-2.0
#include "base/child.hpp"
#include "base/error.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif

using namespace volary;

namespace {

/// Runs `task` on a loop of its own with a deadline and rethrows its error.
void run(asio::io_context& loop, asio::awaitable<void> task) {
    std::exception_ptr failure;
    bool done = false;
    asio::co_spawn(loop, std::move(task), [&](const std::exception_ptr& error) {
        failure = error;
        done = true;
    });
    loop.run_for(std::chrono::seconds(10));
    REQUIRE(done);
    if (failure) std::rethrow_exception(failure);
}

asio::awaitable<void> wait_forever(bool* ended) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    timer.expires_at(asio::steady_timer::time_point::max());
    co_await timer.async_wait(as_result);
    *ended = true;
}

asio::awaitable<void> wait_throwing() {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    timer.expires_at(asio::steady_timer::time_point::max());
    co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> wait_twice() {
    using namespace asio::experimental::awaitable_operators;
    co_await (wait_throwing() && wait_throwing());
}

asio::awaitable<void> fail() {
    throw Error(Errc::internal, "broken");
    co_return;
}

#if __has_feature(address_sanitizer)
asio::awaitable<void> lend_local(const volatile int** lent) {
    volatile int local = 1;
    *lent = &local;
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    local = 2;
}

asio::awaitable<void> look_after_end(bool* poisoned) {
    const volatile int* lent = nullptr;
    co_await lend_local(&lent);
    *poisoned = __asan_address_is_poisoned(lent) != 0;
}
#endif

asio::awaitable<void> close_scope(TaskScope* scope) { co_await scope->close(); }

asio::awaitable<void> pop_into(Mailbox<int>* box, std::vector<int>* out) {
    int item = 0;
    while (co_await box->pop(item)) out->push_back(item);
}

asio::awaitable<void> wait_child(Child* child, ExitStatus* status) {
    *status = co_await child->wait();
}

}  // namespace

TEST_CASE("one task of a scope can be cancelled alone", "[task_scope]") {
    asio::io_context loop;
    TaskScope scope(loop.get_executor(), log_task_errors());
    bool first = false;
    bool second = false;
    const auto id = scope.spawn("first", wait_forever(&first));
    scope.spawn("second", wait_forever(&second));
    loop.poll();
    scope.cancel(id);
    scope.cancel(id + 100);
    loop.restart();
    loop.poll();
    CHECK(first);
    CHECK_FALSE(second);
    CHECK(scope.size() == 1);
    run(loop, close_scope(&scope));
}

TEST_CASE("closing a scope ends its tasks and tells no error", "[base]") {
    asio::io_context loop;
    std::vector<std::string> errors;
    TaskScope scope(loop.get_executor(), [&](auto task, auto) { errors.emplace_back(task); });
    bool ended = false;
    scope.spawn("waiting", wait_forever(&ended));
    loop.poll();
    loop.restart();
    run(loop, close_scope(&scope));
    CHECK(ended);
    CHECK(errors.empty());
    CHECK_THROWS_AS(scope.spawn("late", fail()), Error);
}

TEST_CASE("parallel waits that are cancelled together are a cancellation", "[task_scope]") {
    asio::io_context loop;
    std::vector<std::string> failed;
    TaskScope scope(loop.get_executor(), [&](std::string_view name, const std::exception_ptr&) {
        failed.emplace_back(name);
    });
    scope.spawn("two waits", wait_twice());
    run(loop, close_scope(&scope));
    CHECK(failed.empty());
}

TEST_CASE("a scope tells which task failed", "[base]") {
    asio::io_context loop;
    std::vector<std::string> errors;
    TaskScope scope(loop.get_executor(), [&](auto task, auto error) {
        errors.push_back(std::string(task) + ": " + describe(error));
    });
    scope.spawn("breaking", fail());
    loop.run();
    loop.restart();
    run(loop, close_scope(&scope));
    CHECK(errors == std::vector<std::string>{"breaking: broken"});
}

TEST_CASE("a mailbox keeps order, refuses beyond its bound and drains when closed", "[base]") {
    asio::io_context loop;
    Mailbox<int> box(loop.get_executor(), 2);
    CHECK(box.push(1));
    CHECK(box.push(2));
    CHECK_FALSE(box.push(3));
    box.close();
    CHECK_FALSE(box.push(4));
    std::vector<int> got;
    run(loop, pop_into(&box, &got));
    CHECK(got == std::vector<int>{1, 2});
}

TEST_CASE("a dropping mailbox loses the oldest and counts it", "[base]") {
    asio::io_context loop;
    Mailbox<int, Overflow::drop_oldest> box(loop.get_executor(), 2);
    for (int i = 0; i < 5; ++i) CHECK(box.push(i));
    CHECK(box.dropped() == 3);
    CHECK(box.take_all() == std::deque<int>{3, 4});
}

TEST_CASE("a child gets its arguments, environment and descriptors, and no more", "[base]") {
    asio::io_context loop;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    UniqueFd leak(::open("/dev/null", O_RDONLY));  // no CLOEXEC on purpose
    auto child = Child::spawn({
        .argv = {"/bin/sh", "-c", "echo \"$1 $A\"; ls /proc/self/fd; exit 3", "sh", "one"},
        .env = {"A=two", "PATH=/usr/bin:/bin"},
        .fds = {{writer.get(), 1}},
    });
    writer.reset();
    ExitStatus status;
    run(loop, wait_child(&child, &status));
    CHECK(status == ExitStatus{3, 0});
    char text[256];
    const auto length = ::read(reader.get(), text, sizeof text);
    REQUIRE(length > 0);
    // 3 is the folder that ls itself reads.
    CHECK(std::string(text, static_cast<std::size_t>(length)) == "one two\n0\n1\n2\n3\n");
}

TEST_CASE("a killed child says by which signal", "[base]") {
    asio::io_context loop;
    auto child = Child::spawn({
        .argv = {"/bin/sleep", "100"},
        .env = {},
        .fds = {},
    });
    CHECK(child.send_signal(SIGTERM));
    ExitStatus status;
    run(loop, wait_child(&child, &status));
    CHECK(to_string(status) == "killed by SIGTERM");
    CHECK_FALSE(child.send_signal(SIGTERM));
}

TEST_CASE("a program that is not there is an error with its name", "[base]") {
    CHECK_THROWS_WITH(
        Child::spawn({
            .argv = {"/nonexistent/x"},
            .env = {},
            .fds = {},
        }),
        "start \"/nonexistent/x\": No such file or directory"
    );
}

#if __has_feature(address_sanitizer)
TEST_CASE("the address sanitizer sees that a coroutine's frame has ended", "[sanitizer]") {
    asio::io_context loop;
    bool poisoned = false;
    run(loop, look_after_end(&poisoned));
    CHECK(poisoned);
}
#endif
