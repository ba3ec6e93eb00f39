// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/daemon.hpp"

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/schedule.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/spawner.hpp"
#include "daemon/access/access.hpp"
#include "daemon/access/port_tickets.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/agent/examiner.hpp"
#include "daemon/api/services.hpp"
#include "daemon/app/adapters.hpp"
#include "daemon/app/credentials.hpp"
#include "daemon/app/grant_desk.hpp"
#include "daemon/app/housekeeping.hpp"
#include "daemon/app/net_log.hpp"
#include "daemon/app/network.hpp"
#include "daemon/app/page.hpp"
#include "daemon/app/privileges.hpp"
#include "daemon/app/reconciler.hpp"
#include "daemon/http/router.hpp"
#include "daemon/http/server.hpp"
#include "daemon/model/broker.hpp"
#include "daemon/session/hub.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/session/projects.hpp"
#include "daemon/store/store.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

namespace volary::app {
namespace {

constexpr const char* kOperator = "operator";
constexpr const char* kLoopback = "loopback";

void ensure_folder(const std::string& path) {
    std::error_code error;
    const auto parent = std::filesystem::path(path).parent_path();
    std::filesystem::create_directories(parent, error);
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return;
    throw Error(
        Errc::unavailable,
        fmt::format(
            "the state folder \"{}\" cannot be made ({}); choose another with --state", path,
            std::error_code(errno, std::system_category()).message()
        )
    );
}

/// A cage needs all of them, so a daemon without them would only fail later and less clearly.
void require_programs(const cage::SpawnerPaths& paths, const std::string& agent) {
    if (paths.bwrap.empty())
        throw Error(
            Errc::unavailable,
            "bwrap is not in PATH: cages need it; install it with: apt-get install bubblewrap"
        );
    for (const auto& path : {paths.shim, paths.init, agent}) {
        if (::access(path.c_str(), X_OK) != 0)
            throw Error(
                Errc::unavailable,
                fmt::format(
                    "\"{}\" is missing or cannot be executed by this user: it belongs beside this "
                    "program",
                    path
                )
            );
    }
}

std::string agent_program() {
    const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    return (folder / "volary-agent").string();
}

struct Address {
    std::string host;
    std::uint16_t port = 0;
};

Address parse_address(const std::string& text) {
    const auto colon = text.rfind(':');
    const auto wrong = [&] {
        return Error(
            Errc::invalid,
            fmt::format("listen \"{}\": needs ADDR:PORT or unix:PATH, e.g. 127.0.0.1:8420", text)
        );
    };
    if (colon == std::string::npos || colon + 1 == text.size()) throw wrong();
    Address address{text.substr(0, colon), 0};
    if (address.host.starts_with('[') && address.host.ends_with(']'))
        address.host = address.host.substr(1, address.host.size() - 2);
    const auto digits = text.substr(colon + 1);
    if (digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos)
        throw wrong();
    const auto port = std::stoul(digits);
    if (port > 65535) throw wrong();
    address.port = static_cast<std::uint16_t>(port);
    // Until there is an identity source for it, nothing but this host reaches the page.
    if (address.host != "127.0.0.1" && address.host != "::1")
        throw Error(
            Errc::denied, fmt::format("listen \"{}\": only 127.0.0.1 and [::1] are served", text)
        );
    return address;
}

/// Everything that runs, in the order in which it is made; members die in reverse, and close()
/// ends them in the order in which work flows.
class Daemon {
public:
    Daemon(asio::io_context& loop, const Config& config)
        : config_(config),
          store_(store::Store::open({config.state + "/volary.db"}, clock_)),
          projects_(*store_, clock_, config.ceiling),
          sessions_(loop.get_executor(), *store_, projects_, hub_, clock_),
          net_log_(loop.get_executor(), *store_),
          housekeeping_(loop.get_executor(), *store_),
          host_(sessions_, net_log_),
          gatekeeper_(loop.get_executor(), gatekeeper_config(config), gatekeeper_hooks()),
          spawner_(loop.get_executor(), cage::find_programs(), gatekeeper_, spawner_hooks()),
          broker_(config.models, {}),
          engine_(
              loop.get_executor(), spawner_, gatekeeper_, broker_, host_, clock_, engine_paths()
          ),
          examiner_(loop.get_executor(), spawner_, clock_),
          reconciler_(loop.get_executor(), reconciler_hooks()),
          grants_(loop.get_executor(), engine_, sessions_, projects_, files_),
          agents_(engine_, grants_),
          credentials_(*store_),
          access_(access_config(), credentials_, clock_),
          port_tickets_(clock_),
          api_(services(), router_),
          server_(loop.get_executor(), router_, access_.guard(), server_options()) {
        sessions_.connect(agents_);
        sessions_.limit_grants(config.ceiling);
        access_.add_routes(router_);
        router_.pages(page_files());
    }

    asio::awaitable<void> start() {
        co_await projects_.load();
        auto alive = co_await engine_.find_kept();
        co_await sessions_.recover(std::move(alive), history_goes_on());
        engine_.dismiss_rest();
        note_history();
        for (const auto& listen : config_.listen) listen_on(listen);
        housekeeping_.start();
        reconciler_.start();
        for (const auto& project : projects_.list()) {
            if (!project.diagnostics.empty())
                log::warning(
                    "a project file is invalid",
                    {{"project", project.name}, {"problem", project.diagnostics.front().text()}}
                );
        }
    }

    asio::awaitable<void> close() {
        co_await reconciler_.close();
        // Agents first, so that how they ended is written; then who asks; then what remembers.
        co_await engine_.close();
        co_await server_.close();
        co_await grants_.close();
        co_await sessions_.close();
        co_await spawner_.close();
        co_await gatekeeper_.close();
        co_await net_log_.close();
        co_await housekeeping_.close();
        co_await store_->close();
    }

    std::string url() const { return url_.empty() ? "unix:" + socket_ : url_; }

private:
    cage::GatekeeperHooks gatekeeper_hooks() {
        // The engine is made after the gatekeeper and goes before it: no cage outlives either.
        cage::GatekeeperHooks hooks;
        hooks.denied = [this](const cage::Denial& denial) { engine_.denied(denial); };
        hooks.closed = [this](const cage::Connection& c) { engine_.connection_closed(c); };
        hooks.internal = [this](const CageId& cage, const std::string& name, UniqueFd fd) {
            engine_.internal(cage, name, std::move(fd));
        };
        return hooks;
    }

    cage::SpawnerHooks spawner_hooks() {
        cage::SpawnerHooks hooks;
        hooks.on_limit = [this](
                             const CageId& cage, const std::string& limit, const std::string& detail
                         ) { engine_.limited(cage, limit, detail); };
        hooks.denied = [this](const CageId&, const cage::Denial& denial) {
            engine_.denied(denial);
        };
        return hooks;
    }

    /// Which log the last daemon of this folder wrote is noted beside its cages: a database that
    /// was put back has another epoch, and what it calls unbegun may have happened.
    std::string history_file() const { return config_.state + "/shims/history"; }
    bool history_goes_on() const {
        std::ifstream file(history_file());
        std::string epoch;
        return std::getline(file, epoch) && epoch == store_->epoch();
    }
    void note_history() const {
        // Where it cannot be written, what did not begin is lost at the next start.
        std::ofstream(history_file()) << store_->epoch() << "\n";
    }

    std::string shims_folder() const {
        auto folder = config_.state + "/shims";
        ensure_folder(folder);
        return folder;
    }

    ReconcilerHooks reconciler_hooks() {
        ReconcilerHooks hooks;
        hooks.unfinished = [this] { return sessions_.unfinished(); };
        hooks.is_live = [this](const InvocationId& id) { return engine_.is_live(id); };
        hooks.lost = [this](const Unfinished& each) {
            session::FinishInvocation report{each.second, "lost", "nothing works on it", {}};
            sessions_.tell(each.first, "daemon", std::move(report));
        };
        return hooks;
    }

    agent::EnginePaths engine_paths() const {
        return {
            .agent_program = agent_program(),
            .homes = config_.state + "/homes",
            .layers = config_.state + "/layers",
            .shims = shims_folder(),
            .orphan_ttl = config_.orphan_ttl,
            .history = store_->epoch(),
            .ceiling = config_.ceiling,
        };
    }

    access::AccessConfig access_config() const {
        access::AccessConfig config;
        config.allowed.hosts = config_.hosts;
        // Behind a tunnel or proxy the browser speaks TLS to it.
        for (const auto& host : config_.hosts) config.allowed.origins.push_back("https://" + host);
        config.own_uid = ::geteuid();
        return config;
    }

    static http::ServerOptions server_options() {
        http::ServerOptions options;
        options.headers = access::Access::security_headers();
        return options;
    }

    api::Services services() {
        return {*store_,   sessions_, projects_,     hub_,   engine_,
                examiner_, files_,    port_tickets_, clock_, clock_.now_ms()};
    }

    void listen_on(const std::string& listen) {
        if (listen.starts_with("unix:")) {
            constexpr mode_t kGroupToo = 0660;  // the group `volary`; the peer's uid is checked too
            socket_ = listen.substr(5);
            server_.listen_unix(socket_, kGroupToo, kOperator);
            return;
        }
        const auto address = parse_address(listen);
        const auto port = server_.listen_tcp(address.host, address.port, kLoopback);
        const bool v6 = address.host.find(':') != std::string::npos;
        const auto name = v6 ? "[" + address.host + "]" : address.host;
        if (url_.empty()) url_ = fmt::format("http://{}:{}", name, port);
        access_.set_base_url(url_);
    }

    const Config& config_;
    SystemClock clock_;
    std::unique_ptr<store::Store> store_;
    session::Hub hub_;
    session::Projects projects_;
    session::Manager sessions_;
    SideThread files_;
    NetLog net_log_;
    Housekeeping housekeeping_;
    SessionHost host_;
    cage::Gatekeeper gatekeeper_;
    cage::Spawner spawner_;
    model::Broker broker_;
    agent::Engine engine_;
    agent::Examiner examiner_;
    Reconciler reconciler_;
    GrantDesk grants_;
    EngineAgents agents_;
    StoreCredentials credentials_;
    access::Access access_;
    access::PortTickets port_tickets_;
    http::Router router_;
    api::Api api_;
    http::Server server_;
    std::string url_;
    std::string socket_;
};

void say_ready(int fd, const std::string& url) {
    const auto line = "ready " + url + "\n";
    const int to = fd < 0 ? STDOUT_FILENO : fd;
    if (::write(to, line.data(), line.size()) < 0) throw_errno("write the ready line");
    if (fd > STDERR_FILENO) ::close(fd);
}

asio::awaitable<void> live(Daemon& daemon, int ready_fd) {
    const auto executor = co_await asio::this_coro::executor;
    asio::signal_set signals(executor, SIGTERM, SIGINT);
    std::exception_ptr failure;
    try {
        co_await daemon.start();
        say_ready(ready_fd, daemon.url());
        log::info("volary is ready", {{"url", daemon.url()}, {"version", VOLARY_VERSION}});
        const auto signal = co_await signals.async_wait(asio::use_awaitable);
        log::info("volary stops", {{"signal", std::to_string(signal)}});
    } catch (...) {
        failure = std::current_exception();
    }
    co_await daemon.close();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace

int serve(const Config& config, int ready_fd) {
    if (is_root()) become_system_user(folders_for(config.state, config.listen));
    require_programs(cage::find_programs(), agent_program());
    // Files and sockets are the daemon's own, and for the operator socket its group's.
    ::umask(0007);
    std::signal(SIGPIPE, SIG_IGN);
    ensure_folder(config.state);
    raise_descriptor_limit();
    // Cages and their relays may keep every CPU busy; who asks the daemon must not wait for them.
    prefer_short_turns();
    asio::io_context loop(1);
    Daemon daemon(loop, config);
    std::exception_ptr failure;
    const auto ended = [&](const std::exception_ptr& error) { failure = error; };
    asio::co_spawn(loop, live(daemon, ready_fd), ended);
    loop.run();
    if (failure) std::rethrow_exception(failure);
    return 0;
}

}  // namespace volary::app
