// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/tool_box.hpp"

#include "base/error.hpp"

#include <utility>

namespace volary::builtin {

asio::awaitable<std::vector<ToolSpec>> ToolBox::list() {
    std::vector<ToolSpec> all;
    owners_.clear();
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        auto* client = clients_[i].get();
        auto tools = co_await client->list();
        for (auto& tool : tools)
            if (owners_.emplace(tool.name, client).second) all.push_back(std::move(tool));
    }
    co_return all;
}

asio::awaitable<ToolOutcome> ToolBox::call(
    std::string name, std::string input, OnOutput on_output
) {
    const auto found = owners_.find(name);
    if (found == owners_.end()) throw Error(Errc::not_found, "there is no tool named " + name);
    auto* client = found->second;
    auto outcome = co_await client->call(std::move(name), std::move(input), std::move(on_output));
    co_return outcome;
}

}  // namespace volary::builtin
