// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "cage/doctor.hpp"
#include "cage/explain.hpp"
#include "cage/run.hpp"
#include "daemon/cli/verbs.hpp"
#include "dsl/load.hpp"

#include <filesystem>

#include <fmt/format.h>

namespace volary::cli {
namespace {

CagePolicy load(const CageOptions& options) {
    const auto workspace = options.workspace.empty() ? std::filesystem::current_path()
                                                     : std::filesystem::path(options.workspace);
    auto loaded = dsl::load_policy(options.policy, std::filesystem::absolute(workspace));
    if (loaded.policy) return std::move(*loaded.policy);
    std::vector<std::string> details;
    for (const auto& diagnostic : loaded.diagnostics) details.push_back(diagnostic.text());
    Error error(Errc::invalid, fmt::format("the policy \"{}\" cannot be used", options.policy));
    throw error.with_details(std::move(details));
}

asio::awaitable<int> tell_doctor(bool json) {
    const auto checks = co_await cage::examine_host();
    auto text = json ? cage::doctor_json(checks) : cage::doctor_text(checks);
    while (text.ends_with('\n')) text.pop_back();
    print_line(text);
    co_return cage::is_sound(checks) ? 0 : 1;
}

}  // namespace

int cage_run(const CageOptions& options, cage::GatekeeperConfig network) {
    cage::RunCommand command;
    command.network = std::move(network);
    command.policy = load(options);
    command.argv = options.command;
    if (!options.layers.empty())
        command.layers = std::filesystem::absolute(options.layers).lexically_normal();
    const auto verb = [&](const asio::any_io_executor&) {
        return cage::run_command(std::move(command));
    };
    return run(verb);
}

int cage_explain(const Context& context, const CageOptions& options) {
    const auto policy = load(options);
    const cage::RealHost host;
    if (!options.path.empty())
        print_line(cage::explain_path(policy, options.path, host));
    else if (context.json)
        print_line(cage::explain_json(policy, host));
    else
        print_line(cage::explain_text(policy, host));
    return 0;
}

int doctor(const Context& context) {
    const bool json = context.json;
    const auto verb = [json](const asio::any_io_executor&) { return tell_doctor(json); };
    return run(verb);
}

}  // namespace volary::cli
