// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/streams.hpp"
#include "daemon/agent/worker.hpp"

#include <string>

namespace volary::agent {

/// Puts what one stream of a cage prints into the log, up to 8 MiB; the rest is read, so that the
/// program goes on, and told once as the limit "output".
class OutputLog {
public:
    OutputLog(Worker& worker, Host& host, std::string stream)
        : worker_(worker), host_(host), stream_(std::move(stream)) {}

    /// `place`: where the stream that it came from stands after it, if that is kept.
    asio::awaitable<void> take(std::string chunk, std::optional<StreamPlace> place);

    /// Takes everything that comes out of a stream of the worker's cage. This object outlives the
    /// wait.
    asio::awaitable<void> drain(cage::Stream stream);

private:
    Worker& worker_;
    Host& host_;
    std::string stream_;
    std::size_t logged_ = 0;
    bool told_ = false;
};

}  // namespace volary::agent
