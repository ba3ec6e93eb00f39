// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/agent/builtin/clients.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace volary::builtin {

/// Several tool clients as one. Of two tools with one name the earlier client's wins.
class ToolBox final : public ToolClient {
public:
    void add(std::unique_ptr<ToolClient> client) { clients_.push_back(std::move(client)); }

    asio::awaitable<std::vector<ToolSpec>> list() override;
    asio::awaitable<ToolOutcome> call(std::string name, std::string input, OnOutput on_output)
        override;

private:
    std::vector<std::unique_ptr<ToolClient>> clients_;
    std::map<std::string, ToolClient*> owners_;
};

}  // namespace volary::builtin
