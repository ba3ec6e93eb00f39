// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/task_scope.hpp"
#include "daemon/cli/verbs.hpp"
#include "daemon/http/upstream.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

using asio::ip::tcp;

/// A browser opens six; each costs the daemon a connection.
constexpr std::size_t kMaxForwarded = 64;

std::string ports_path(const std::string& session) {
    return "/api/v1/sessions/" + path_segment(session) + "/ports";
}

asio::awaitable<int> do_ports(
    asio::any_io_executor executor, const Context& context, const std::string& session
) {
    Client client(executor, context);
    const auto answer = co_await client.get(ports_path(session));
    if (context.json) {
        print_json(answer);
        co_return 0;
    }
    if (answer.at("ports").empty()) print_line("no running cage publishes a port");
    for (const auto& port : answer.at("ports"))
        print_line(fmt::format(
            "{:<16} {:>5}  {:<9} {:<13} {}  {}", string_or(port, "name"), port.value("port", 0),
            port.value("public", false) ? "public" : "operators",
            port.value("listening", false) ? "listening" : "not listening",
            string_or(port, "agent"), string_or(port, "url")
        ));
    co_return 0;
}

asio::awaitable<void> forward_one(
    asio::any_io_executor executor, Context context, std::string target, UniqueFd local
) {
    std::string problem;
    try {
        Client client(executor, context);
        auto opened = co_await client.tunnel(std::move(target));
        co_await http::relay(
            executor, std::move(opened.connection), std::move(local), std::move(opened.first)
        );
    } catch (const Error& error) {
        problem = error.what();
    }
    if (!problem.empty()) fmt::print(stderr, "volary: {}\n", problem);
}

asio::awaitable<void> accept_all(
    tcp::acceptor* acceptor, TaskScope* tasks, Context context, std::string target
) {
    while (true) {
        tcp::socket peer(acceptor->get_executor());
        const auto [error] = co_await acceptor->async_accept(peer, as_result);
        if (error) co_return;
        // More would only queue up in the daemon; the one who connects sees its connection end.
        if (tasks->size() > kMaxForwarded) continue;
        peer.non_blocking(true);
        UniqueFd local(peer.release());
        tasks->spawn("forward", forward_one(tasks->executor(), context, target, std::move(local)));
    }
}

tcp::acceptor listen_on(const asio::any_io_executor& executor, std::uint16_t port) {
    tcp::acceptor acceptor(executor);
    boost::system::error_code error;
    const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port);
    acceptor.open(tcp::v4(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error)
        throw Error(
            Errc::unavailable,
            fmt::format("listen on 127.0.0.1:{}: {} (name another port)", port, error.message())
        );
    return acceptor;
}

/// The number of the published port that is meant; Error{not_found} when no cage has it.
std::uint16_t number_of(const Json& answer, const std::string& name) {
    for (const auto& port : answer.at("ports"))
        if (string_or(port, "name") == name) return port.value("port", std::uint16_t{0});
    throw Error(
        Errc::not_found, fmt::format("no cage that runs in this session publishes \"{}\"", name)
    );
}

asio::awaitable<int> do_forward(
    asio::any_io_executor executor, const Context& context, const ForwardOptions& options
) {
    Client client(executor, context);
    const auto answer = co_await client.get(ports_path(options.session));
    const auto number = number_of(answer, options.name);
    auto acceptor = listen_on(executor, options.local_port.value_or(number));
    const auto bound = acceptor.local_endpoint().port();
    const auto target = ports_path(options.session) + "/" + path_segment(options.name) + "/tcp";
    if (context.json)
        print_json({{"listen", fmt::format("127.0.0.1:{}", bound)}, {"port", number}});
    else
        print_line(fmt::format(
            "127.0.0.1:{} leads to port {} ({}) of the cage; Ctrl-C ends it", bound, number,
            options.name
        ));
    asio::signal_set signals(executor, SIGINT, SIGTERM);
    TaskScope tasks(executor, log_task_errors());
    tasks.spawn("accept", accept_all(&acceptor, &tasks, context, target));
    co_await signals.async_wait(as_result);
    co_await tasks.close();
    co_return 0;
}

}  // namespace

int cage_ports(const Context& context, const std::string& session) {
    const auto verb = [&](const asio::any_io_executor& executor) {
        return do_ports(executor, context, session);
    };
    return run(verb);
}

int cage_forward(const Context& context, const ForwardOptions& options) {
    const auto verb = [&](const asio::any_io_executor& executor) {
        return do_forward(executor, context, options);
    };
    return run(verb);
}

}  // namespace volary::cli
