// SPDX-License-Identifier: Apache-2.0
#include "base/task_scope.hpp"
#include "daemon/agent/builtin/shell_tool.hpp"

#include <signal.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::builtin;

namespace {

struct Run {
    Json answer;
    bool ok = false;
    std::string live;
};

asio::awaitable<void> call(ShellTool* tool, Run* run, std::string input, TaskScope* scope) {
    OnOutput on_output = [run, scope](std::string_view bytes) {
        run->live += bytes;
        // The command says "cancel" when it wants to be cancelled.
        if (bytes.find("cancel") != std::string_view::npos) scope->cancel(1);
    };
    auto outcome = co_await tool->call("shell", std::move(input), on_output);
    run->ok = outcome.ok;
    run->answer = Json::parse(outcome.text);
}

asio::awaitable<void> close(TaskScope* scope) { co_await scope->close(); }

Run run_shell(const Json& input) {
    asio::io_context loop;
    TaskScope scope(loop.get_executor(), log_task_errors());
    ShellTool tool("/tmp");
    Run run;
    scope.spawn("shell", call(&tool, &run, input.dump(), &scope));
    loop.run_for(std::chrono::seconds(15));
    REQUIRE(scope.size() == 0);
    loop.restart();
    asio::co_spawn(loop, close(&scope), [](const std::exception_ptr&) {});
    loop.run();
    return run;
}

bool group_is_gone(pid_t group) { return ::kill(-group, 0) != 0; }

}  // namespace

TEST_CASE("a command's code and output come back", "[builtin]") {
    const auto run = run_shell({{"command", "pwd; echo oops >&2; exit 3"}});
    CHECK_FALSE(run.ok);
    CHECK(run.answer["exit_code"] == 3);
    CHECK(run.answer["stdout"] == "/tmp\n");
    CHECK(run.answer["stderr"] == "oops\n");
    CHECK_THAT(run.live, Catch::Contains("oops"));
}

TEST_CASE("a background process does not keep a command open", "[builtin]") {
    const auto run = run_shell({{"command", "sleep 600 & echo done"}});
    CHECK(run.ok);
    CHECK(run.answer["stdout"] == "done\n");
}

TEST_CASE("a command that runs out of time is killed and says so", "[builtin]") {
    const auto run = run_shell({{"command", "trap '' TERM; sleep 600"}, {"timeout_s", 1}});
    CHECK_FALSE(run.ok);
    CHECK(run.answer["timed_out"] == true);
}

TEST_CASE("cancelling kills the command", "[builtin]") {
    const auto run = run_shell({{"command", "echo $$; echo cancel; exec sleep 600"}});
    CHECK(run.answer.is_null());
    const auto pid = std::stoi(run.live);
    CHECK(pid > 0);
    CHECK(group_is_gone(pid));
}
