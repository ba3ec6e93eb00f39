// SPDX-License-Identifier: Apache-2.0
#include "cage/run.hpp"

#include "base/clock.hpp"
#include "base/error.hpp"
#include "cage/cage.hpp"
#include "cage/changes.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/spawner.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

namespace volary::cage {
namespace {

void tell(const std::string& text) {
    const auto line = "volary: " + text + "\n";
    (void)::write(STDERR_FILENO, line.data(), line.size());
}

/// Forwards signals until the set is cancelled. With a terminal, Ctrl-C and Ctrl-\ reach the
/// command by themselves: it is in the terminal's foreground group.
asio::awaitable<void> forward_signals(asio::signal_set* signals, Cage* cage, bool terminal) {
    while (true) {
        const auto [error, number] = co_await signals->async_wait(as_result);
        if (error) co_return;
        if (terminal && (number == SIGINT || number == SIGQUIT)) continue;
        (void)cage->signal(number);
    }
}

bool has_layers(const CagePolicy& policy) {
    return std::any_of(policy.fs.begin(), policy.fs.end(), [](const FsRule& rule) {
        return rule.mode == FsMode::cow;
    });
}

/// Where the layers of this run are: kept, or in a temporary folder that goes with this.
class RunLayers {
public:
    RunLayers(const CagePolicy& policy, std::string kept) : folder_(std::move(kept)) {
        if (!folder_.empty() || !has_layers(policy)) return;
        folder_ = (std::filesystem::temp_directory_path() / "volary-layers-XXXXXX").string();
        if (::mkdtemp(folder_.data()) == nullptr) throw_errno("make folder", folder_);
        temporary_ = true;
    }
    RunLayers(const RunLayers&) = delete;
    RunLayers& operator=(const RunLayers&) = delete;
    ~RunLayers() {
        if (temporary_) remove_tree(folder_);
    }

    const std::string& folder() const noexcept { return folder_; }

    void tell_changes() const {
        if (folder_.empty()) return;
        const auto changes = list_changes(folder_);
        const auto more = changes.size() == kMaxChanges ? " or more" : "";
        if (temporary_ && !changes.empty())
            tell(fmt::format(
                "{}{} changes in cow folders were dropped (--layers DIR keeps them)",
                changes.size(), more
            ));
        if (temporary_) return;
        for (const auto& change : changes)
            tell(fmt::format("{}: {}", to_string(change.kind), change.path));
        tell(fmt::format("{}{} changes are in \"{}\"", changes.size(), more, folder_));
    }

private:
    std::string folder_;
    bool temporary_ = false;
};

SpawnRequest to_request(RunCommand command, bool terminal) {
    SpawnRequest out;
    out.id = CageId::make(SystemClock());
    out.policy = std::move(command.policy);
    out.argv = std::move(command.argv);
    out.working_directory = std::move(command.working_directory);
    out.inherit = StdioFds{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, terminal};
    const char* term = std::getenv("TERM");
    if (terminal && term != nullptr) out.policy.env.try_emplace("TERM", term);
    return out;
}

void tell_denial(const Denial& denial) {
    auto text = fmt::format("denied ({}): {}", denial.layer, denial.what);
    if (denial.count > 1) text += fmt::format(" ({} times)", denial.count);
    const auto rule = denial.layer == "syscall" ? fmt::format("\"{}\"", denial.rule)
                                                : fmt::format("net.allow \"{}\"", denial.rule);
    if (!denial.rule.empty()) text += fmt::format("; {} would allow it", rule);
    tell(text);
}

GatekeeperHooks gatekeeper_hooks(bool quiet) {
    GatekeeperHooks hooks;
    if (!quiet) hooks.denied = tell_denial;
    return hooks;
}

SpawnerHooks spawner_hooks(bool quiet) {
    SpawnerHooks hooks;
    hooks.on_limit = [](const CageId&, const std::string& limit, const std::string& detail) {
        tell(fmt::format("limit {}: {}", limit, detail));
    };
    if (!quiet)
        hooks.denied = [](const CageId&, const Denial& denial) {
            // Told with its whole path at the end, also when quiet.
            if (denial.layer != "planted") tell_denial(denial);
        };
    return hooks;
}

/// The spawner's parts, closed in the right order on every path.
struct Parts {
    asio::any_io_executor executor;
    Gatekeeper gatekeeper;
    Spawner spawner;
    TaskScope tasks;

    Parts(const asio::any_io_executor& on, GatekeeperConfig network, bool quiet)
        : executor(on),
          gatekeeper(on, std::move(network), gatekeeper_hooks(quiet)),
          spawner(on, find_programs(), gatekeeper, spawner_hooks(quiet)),
          tasks(on, log_task_errors()) {}
};

asio::awaitable<int> run_in(Parts* parts, SpawnRequest request, bool terminal) {
    auto cage = co_await parts->spawner.spawn(std::move(request));
    asio::signal_set signals(parts->executor, SIGINT, SIGTERM, SIGHUP);
    signals.add(SIGQUIT);
    parts->tasks.spawn("forward signals", forward_signals(&signals, cage.get(), terminal));
    const auto exit = co_await cage->wait();
    for (const auto& path : exit.planted)
        tell(fmt::format("made \"{}\", a protected path: look at it before you use it", path));
    signals.cancel();
    co_await parts->tasks.close();
    co_return exit.status.shell_code();
}

asio::awaitable<void> close_parts(Parts* parts) {
    co_await parts->tasks.close();
    co_await parts->spawner.close();
    co_await parts->gatekeeper.close();
}

}  // namespace

asio::awaitable<int> run_command(RunCommand command) {
    const auto executor = co_await asio::this_coro::executor;
    Parts parts(executor, std::move(command.network), command.quiet);
    const bool terminal = ::isatty(STDIN_FILENO) == 1;
    const RunLayers layers(command.policy, std::move(command.layers));
    auto request = to_request(std::move(command), terminal);
    request.layers_folder = layers.folder();
    std::exception_ptr failed;
    int status = 1;
    try {
        status = co_await run_in(&parts, std::move(request), terminal);
    } catch (...) {
        failed = std::current_exception();
    }
    co_await close_parts(&parts);
    layers.tell_changes();
    if (failed) std::rethrow_exception(failed);
    co_return status;
}

}  // namespace volary::cage
