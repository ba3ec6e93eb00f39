// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/acp/types.hpp"
#include "daemon/agent/builtin/conversation.hpp"

#include <string>
#include <vector>

namespace volary::builtin {

/// A conversation as the updates that a client would have seen, in order; operator notes are left
/// out, they are the client's own. Pure.
std::vector<acp::Update> history_updates(
    const Conversation& conversation, const std::string& session_id
);

}  // namespace volary::builtin
