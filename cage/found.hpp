// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/record.hpp"
#include "cage/shim/channel.hpp"
#include "cage/shim/protocol.hpp"
#include "cage/spawner.hpp"

#include <string>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace volary::cage {

/// A shim that an earlier daemon started and that has answered: not adopted yet.
struct Spawner::Found {
    struct Held {
        wire::HeldSocket what;
        UniqueFd socket;
    };

    explicit Found(const asio::any_io_executor& executor) : control(executor) {}

    std::string socket;  ///< path
    UniqueFd process;    ///< pidfd of the shim
    asio::posix::stream_descriptor control;
    KeptRecord record;
    wire::Attached state;
    std::vector<Held> held;
    UniqueFd packet;
};

}  // namespace volary::cage
