// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/acp/types.hpp"
#include "daemon/agent/builtin/conversation.hpp"
#include "daemon/agent/builtin/message_stream.hpp"

#include <string>
#include <variant>
#include <vector>

namespace volary::builtin {

/// Decides what one turn does next, from the conversation and what has happened. Knows no network,
/// no process and no time, so that every path can be tested.
///
/// Tool calls that a model asks for together run one after the other, in its order.
class Turn {
public:
    struct CallModel {};
    struct CallTool {
        ToolUse tool;
    };
    struct Finish {
        acp::StopReason reason;
    };
    using Action = std::variant<CallModel, CallTool, Finish>;

    /// `max_steps`: model calls and tool calls together.
    Turn(Conversation& conversation, std::string_view prompt, int max_steps);

    Action next();

    /// Notes of the operator: they enter the conversation before the next model call, or at the
    /// end of the turn.
    void note(std::string text);
    /// To be called when a model call really begins: puts the notes in.
    void begin_model_call();

    void model_answered(const ModelAnswer& answer);
    /// The operator refused the model call: the turn ends.
    void model_refused();
    void tool_finished(const std::string& id, std::string_view text, bool failed);
    /// Ends the turn now; open tool calls get a result that says so.
    void cancel();
    /// The turn ends by an error that the caller reports; the conversation is left fit to go on.
    void abandon();

private:
    void finish(acp::StopReason reason);

    Conversation& conversation_;
    int steps_left_;
    std::vector<ToolUse> open_;
    std::vector<std::string> notes_;
    bool finished_ = false;
    acp::StopReason reason_ = acp::StopReason::end_turn;
};

}  // namespace volary::builtin
