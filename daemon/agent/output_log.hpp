// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "daemon/agent/worker.hpp"

#include <string>

namespace volary::agent {

/// Puts what one stream of a cage prints into the log, up to 8 MiB; the rest is read, so that the
/// program goes on, and told once as the limit "output".
class OutputLog {
public:
    OutputLog(Worker& worker, Host& host, std::string stream)
        : worker_(worker), host_(host), stream_(std::move(stream)) {}

    asio::awaitable<void> take(std::string chunk);

    /// Takes everything that comes out of `fd`. This object outlives the wait.
    asio::awaitable<void> drain(UniqueFd fd);

private:
    Worker& worker_;
    Host& host_;
    std::string stream_;
    std::size_t logged_ = 0;
    bool told_ = false;
};

}  // namespace volary::agent
