// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/turn.hpp"

#include <utility>

#include <nlohmann/json.hpp>

namespace volary::builtin {

using acp::StopReason;

Turn::Turn(Conversation& conversation, std::string_view prompt, int max_steps)
    : conversation_(conversation), steps_left_(max_steps) {
    conversation_.repair("interrupted: the agent was restarted before this call ended");
    conversation_.add_user_text(prompt);
}

Turn::Action Turn::next() {
    if (!finished_ && steps_left_ <= 0) {
        conversation_.repair("not run: the turn has reached its limit of steps");
        finish(StopReason::max_turn_requests);
    }
    if (finished_) return Finish{reason_};
    if (!open_.empty()) return CallTool{open_.front()};
    return CallModel{};
}

void Turn::note(std::string text) { notes_.push_back(std::move(text)); }

void Turn::begin_model_call() {
    for (const auto& note : std::exchange(notes_, {})) conversation_.add_note(note);
}

void Turn::model_answered(const ModelAnswer& answer) {
    --steps_left_;
    conversation_.add_assistant(*answer.content);
    open_ = conversation_.open_tools();
    if (answer.stop_reason == "max_tokens") {
        conversation_.repair("not run: the answer was cut off by its limit of tokens");
        return finish(StopReason::max_tokens);
    }
    if (answer.stop_reason == "refusal") {
        conversation_.repair("not run: the model refused to go on");
        return finish(StopReason::refusal);
    }
    // A server-side pause: the same conversation is sent again.
    if (answer.stop_reason == "pause_turn" && !answer.content->empty()) return;
    if (open_.empty()) finish(StopReason::end_turn);
}

void Turn::model_refused() { finish(StopReason::refusal); }

void Turn::tool_finished(const std::string& id, std::string_view text, bool failed) {
    --steps_left_;
    conversation_.add_tool_result(id, text, failed);
    std::erase_if(open_, [&](const ToolUse& tool) { return tool.id == id; });
}

void Turn::cancel() {
    conversation_.repair("cancelled by the operator");
    finish(StopReason::cancelled);
}

void Turn::abandon() {
    conversation_.repair("not run: the turn failed");
    finish(StopReason::end_turn);
}

void Turn::finish(StopReason reason) {
    if (finished_) return;
    finished_ = true;
    reason_ = reason;
    open_.clear();
    begin_model_call();
}

}  // namespace volary::builtin
