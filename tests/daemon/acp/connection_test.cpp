// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/connection.hpp"

#include "base/error.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "daemon/acp/message.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::acp;

namespace {

struct Pipe {
    Pipe() {
        int fds[2];
        REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
        read.reset(fds[0]);
        write.reset(fds[1]);
    }
    UniqueFd read;
    UniqueFd write;
};

/// Two connections that talk to each other, or one and a bare peer.
struct World {
    World() { ::signal(SIGPIPE, SIG_IGN); }

    void pair(ConnectionLimits limits = {}) {
        Pipe there;
        Pipe back;
        client = std::make_unique<Connection>(
            loop.get_executor(), std::move(back.read), std::move(there.write), limits
        );
        agent = std::make_unique<Connection>(
            loop.get_executor(), std::move(there.read), std::move(back.write), limits
        );
    }

    /// Only the client; the other ends stay in `from_client` and `to_client`.
    void bare(ConnectionLimits limits = {}) {
        Pipe there;
        Pipe back;
        client = std::make_unique<Connection>(
            loop.get_executor(), std::move(back.read), std::move(there.write), limits
        );
        from_client = std::move(there.read);
        to_client = std::move(back.write);
    }

    void run(asio::awaitable<void> task) {
        std::exception_ptr failure;
        bool done = false;
        auto on_done = [&](const std::exception_ptr& error) {
            failure = error;
            done = true;
            loop.stop();
        };
        asio::co_spawn(loop, finish(std::move(task)), on_done);
        loop.restart();
        loop.run_for(std::chrono::seconds(10));
        REQUIRE(done);
        if (failure) std::rethrow_exception(failure);
    }

    asio::awaitable<void> finish(asio::awaitable<void> task) {
        std::exception_ptr failure;
        if (client) scope.spawn("client", client->run());
        if (agent) scope.spawn("agent", agent->run());
        try {
            co_await std::move(task);
        } catch (...) {
            failure = std::current_exception();
        }
        if (client) co_await client->close();
        if (agent) co_await agent->close();
        co_await scope.close();
        if (failure) std::rethrow_exception(failure);
    }

    void send(std::string_view text) {
        REQUIRE(::write(to_client.get(), text.data(), text.size()) == ssize_t(text.size()));
    }

    std::string received() {
        std::string out(65536, '\0');
        const auto size = ::read(from_client.get(), out.data(), out.size());
        out.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        return out;
    }

    asio::io_context loop;
    std::unique_ptr<Connection> client;
    std::unique_ptr<Connection> agent;
    UniqueFd from_client;
    UniqueFd to_client;
    std::vector<std::string> seen;
    std::vector<std::string> scope_errors;
    Notifier changed{loop.get_executor()};
    TaskScope scope{loop.get_executor(), [this](std::string_view, const std::exception_ptr& e) {
                        scope_errors.push_back(describe(e));
                    }};
};

asio::awaitable<Json> echo(Json params) { co_return params; }

asio::awaitable<Json> refuse(Json) {
    throw Error(Errc::invalid, "x: required");
    co_return Json();
}

asio::awaitable<Json> hang(World* world, Json) {
    world->seen.emplace_back("hanging");
    world->changed.notify();
    asio::steady_timer forever(co_await asio::this_coro::executor);
    forever.expires_at(asio::steady_timer::time_point::max());
    try {
        co_await forever.async_wait(asio::use_awaitable);
    } catch (...) {
        world->seen.emplace_back("cancelled");
        world->changed.notify();
        throw;
    }
    co_return Json();
}

asio::awaitable<void> until_seen(World* world, std::string what) {
    while (std::find(world->seen.begin(), world->seen.end(), what) == world->seen.end())
        co_await world->changed.wait();
}

asio::awaitable<void> record(World* world, Json params) {
    world->seen.push_back(dump_json(params));
    world->changed.notify();
    co_return;
}

template <class Call>
std::string failure_of(Call&& call) {
    try {
        call();
    } catch (const Error& e) {
        return std::string(to_string(e.code())) + ": " + e.what();
    }
    return "no failure";
}

asio::awaitable<void> call_once(World* world, std::string method, Json params) {
    const auto answer = co_await world->client->call(method, std::move(params));
    world->seen.push_back(dump_json(answer));
}

}  // namespace

TEST_CASE("a call gets its answer, from either side", "[acp]") {
    World world;
    world.pair();
    world.agent->on_request("echo", echo);
    world.run(call_once(&world, "echo", Json{{"a", 1}}));
    CHECK(world.seen == std::vector<std::string>{R"({"a":1})"});
}

TEST_CASE("errors of a handler reach the caller with their code", "[acp]") {
    World world;
    world.pair();
    world.agent->on_request("refuse", refuse);
    CHECK(failure_of([&] {
              world.run(call_once(&world, "refuse", {}));
          }) == "invalid: refuse: x: required (-32602)");
}

TEST_CASE("a method that nobody serves is -32601", "[acp]") {
    World world;
    world.pair();
    CHECK_THAT(
        failure_of([&] { world.run(call_once(&world, "nothing", {})); }), Catch::Contains("-32601")
    );
}

TEST_CASE("notifications arrive in order and before the answer that followed them", "[acp]") {
    World world;
    world.pair();
    world.client->on_notification("n", [&](Json p) { return record(&world, std::move(p)); });
    struct Agent {
        static asio::awaitable<Json> serve(Connection* agent) {
            for (int i = 0; i < 50; ++i) co_await agent->notify("n", Json(i));
            co_return Json("done");
        }
    };
    world.agent->on_request("go", [&](Json) { return Agent::serve(world.agent.get()); });
    world.run(call_once(&world, "go", {}));
    REQUIRE(world.seen.size() == 51);
    for (int i = 0; i < 50; ++i)
        CHECK(world.seen[static_cast<std::size_t>(i)] == std::to_string(i));
    CHECK(world.seen.back() == "\"done\"");
}

TEST_CASE("a caller that times out tells the peer to cancel", "[acp]") {
    World world;
    world.pair();
    world.agent->on_request("hang", [&](Json p) { return hang(&world, std::move(p)); });
    struct Test {
        static asio::awaitable<void> go(World* w) {
            std::string failure;
            try {
                co_await w->client->call("hang", {}, std::chrono::milliseconds(20));
            } catch (const Error& e) {
                failure = std::string(to_string(e.code()));
            }
            CHECK(failure == "timeout");
            co_await until_seen(w, "cancelled");
        }
    };
    world.run(Test::go(&world));
}

TEST_CASE("a caller that is cancelled tells the peer to cancel", "[acp]") {
    World world;
    world.pair();
    world.agent->on_request("hang", [&](Json p) { return hang(&world, std::move(p)); });
    struct Test {
        static asio::awaitable<void> go(World* w) {
            const auto task = w->scope.spawn("call", call_once(w, "hang", {}));
            co_await until_seen(w, "hanging");
            w->scope.cancel(task);
            co_await until_seen(w, "cancelled");
        }
    };
    world.run(Test::go(&world));
}

TEST_CASE("pending calls fail when the peer goes", "[acp]") {
    World world;
    world.bare();
    struct Test {
        static asio::awaitable<void> go(World* w) {
            w->to_client.reset();
            co_await w->client->call("x", {});
        }
    };
    CHECK(failure_of([&] {
              world.run(Test::go(&world));
          }) == "unavailable: the peer closed the connection");
    CHECK(world.scope_errors.empty());
}

TEST_CASE("a call after close fails at once", "[acp]") {
    World world;
    world.bare();
    struct Test {
        static asio::awaitable<void> go(World* w) {
            co_await w->client->close();
            CHECK(w->client->closed());
            co_await w->client->call("x", {});
        }
    };
    CHECK_THAT(failure_of([&] { world.run(Test::go(&world)); }), Catch::Contains("closed"));
}

TEST_CASE("stray lines go to the callback, broken messages are answered", "[acp]") {
    World world;
    world.bare();
    world.client->on_stray([&](std::string line) { world.seen.push_back(std::move(line)); });
    world.client->on_notification("end", [&](Json p) { return record(&world, std::move(p)); });
    world.send("log line\n{broken\n{\"jsonrpc\":\"2.0\",\"method\":\"end\",\"params\":{}}\n");
    struct Test {
        static asio::awaitable<void> go(World* w) {
            co_await until_seen(w, "{}");
            co_await w->client->flush(std::chrono::seconds(5));
        }
    };
    world.run(Test::go(&world));
    CHECK(world.seen == std::vector<std::string>{"log line", "{broken", "{}"});
    CHECK_THAT(world.received(), Catch::Contains("-32700"));
}

TEST_CASE("a line beyond the limit ends the connection and says so", "[acp]") {
    World world;
    ConnectionLimits limits;
    limits.line = 1000;
    world.bare(limits);
    world.send(std::string(2000, 'x'));
    CHECK_THAT(
        failure_of([&] { world.run(call_once(&world, "x", {})); }),
        Catch::Contains("more than 1000 bytes")
    );
    REQUIRE(world.scope_errors.size() == 1);
    CHECK_THAT(world.scope_errors[0], Catch::Contains("1000"));
}

TEST_CASE("a sender waits while the peer reads nothing, and no message is lost", "[acp]") {
    World world;
    ConnectionLimits limits;
    limits.outbox = 1000;
    world.bare(limits);
    struct Test {
        static asio::awaitable<void> flood(World* w) {
            for (int i = 0; i < 2000; ++i) {
                co_await w->client->notify("n", Json(std::string(200, 'x')));
                w->seen.emplace_back("sent");
            }
            w->seen.emplace_back("all");
            w->changed.notify();
        }
        static asio::awaitable<void> go(World* w, std::size_t* lines) {
            w->scope.spawn("flood", flood(w));
            std::size_t bytes = 0;
            ::fcntl(w->from_client.get(), F_SETFL, O_NONBLOCK);
            asio::steady_timer turn(co_await asio::this_coro::executor);
            bool waited = false;
            while (*lines < 2000) {
                // One round of the loop, so that writer and flood get on.
                turn.expires_after(std::chrono::milliseconds(0));
                co_await turn.async_wait(as_result);
                if (w->seen.size() < 2000) waited = true;
                const auto text = w->received();
                bytes += text.size();
                *lines += static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
            }
            CHECK(waited);
            CHECK(bytes > 2000 * 200);
        }
    };
    std::size_t lines = 0;
    world.run(Test::go(&world, &lines));
    CHECK(lines == 2000);
}

TEST_CASE("more requests than are taken at once are refused, not queued", "[acp]") {
    World world;
    ConnectionLimits limits;
    limits.requests = 2;
    world.bare(limits);
    world.client->on_request("hang", [&](Json p) { return hang(&world, std::move(p)); });
    world.client->on_notification("end", [&](Json p) { return record(&world, std::move(p)); });
    for (int i = 1; i <= 3; ++i) world.send(request_line(i, "hang", {}));
    world.send(request_line(1, "hang", {}));
    world.send(notification_line("$/cancel_request", Json{{"requestId", 1}}));
    struct Test {
        static asio::awaitable<void> go(World* w) {
            co_await until_seen(w, "cancelled");
            co_await w->client->flush(std::chrono::seconds(5));
        }
    };
    world.run(Test::go(&world));
    const auto text = world.received();
    CHECK_THAT(text, Catch::Contains("2 requests are in work"));
    CHECK_THAT(text, Catch::Contains("a request with this id is in work"));
    CHECK_THAT(text, Catch::Contains("-32800"));
}

TEST_CASE("a peer that stops reading is gone once its end is closed", "[acp]") {
    World world;
    world.bare();
    struct Test {
        static asio::awaitable<void> go(World* w) {
            w->from_client.reset();
            co_await w->client->call("x", {});
        }
    };
    CHECK_THAT(
        failure_of([&] { world.run(Test::go(&world)); }),
        Catch::Contains("unavailable: write to the peer: Broken pipe")
    );
}
