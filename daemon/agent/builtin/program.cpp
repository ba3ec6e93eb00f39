// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "base/log.hpp"
#include "daemon/acp/connection.hpp"
#include "daemon/agent/builtin/agent.hpp"

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

namespace volary::builtin {
namespace {

constexpr std::chrono::seconds kLastWords{2};  // for answers that are still in the outbox

asio::awaitable<void> serve(acp::Connection* client, Agent* agent) {
    try {
        co_await client->run();
    } catch (const Error& e) {
        log::warning("the client is gone", {{"error", e.what()}});
    }
    co_await client->flush(kLastWords);
    co_await agent->close();
    co_await client->close();
}

UniqueFd duplicate(int fd, std::string_view name) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) throw_errno("duplicate", name);
    return copy;
}

}  // namespace

int run_agent(const std::string& folder) {
    // A client that went away shows as an error of the write, not as the end of this process.
    ::signal(SIGPIPE, SIG_IGN);
    try {
        asio::io_context loop(1);
        acp::Connection client(
            loop.get_executor(), duplicate(STDIN_FILENO, "standard input"),
            duplicate(STDOUT_FILENO, "standard output")
        );
        Agent agent(loop.get_executor(), client, folder);
        asio::signal_set signals(loop, SIGTERM, SIGINT);
        signals.async_wait([&](const boost::system::error_code& error, int) {
            // Closing ends run(), and serve() goes on to end turns and their processes.
            if (!error) asio::co_spawn(loop, client.close(), [](const std::exception_ptr&) {});
        });
        std::exception_ptr failure;
        auto on_done = [&](const std::exception_ptr& error) {
            failure = error;
            signals.cancel();
        };
        asio::co_spawn(loop, serve(&client, &agent), on_done);
        loop.run();
        if (failure) std::rethrow_exception(failure);
        return 0;
    } catch (const std::exception& e) {
        log::error("volary-agent ends", {{"error", e.what()}});
        return exit_code(Errc::internal);
    }
}

}  // namespace volary::builtin
