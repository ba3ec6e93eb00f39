// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/mailbox.hpp"

#include <memory>
#include <string>

namespace volary::cage {
class Spawner;
}

namespace volary::agent {

/// The examination of this host (cage/doctor.hpp) for everybody who asks: one at a time, and its
/// answer is believed for a minute. Control thread only.
class Examiner {
public:
    Examiner(const asio::any_io_executor& executor, cage::Spawner& spawner, const Clock& clock)
        : spawner_(spawner), clock_(clock), ended_(executor) {}

    /// `{"checks":[{"name","layer","verdict","detail","fix"}],"ok"}`; takes some seconds at first.
    asio::awaitable<std::shared_ptr<const std::string>> json();

private:
    cage::Spawner& spawner_;
    const Clock& clock_;
    std::shared_ptr<const std::string> last_;
    UnixMillis last_at_ = 0;
    bool running_ = false;
    Notifier ended_;
};

}  // namespace volary::agent
