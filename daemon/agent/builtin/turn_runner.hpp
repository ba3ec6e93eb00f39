// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/clock.hpp"
#include "daemon/agent/builtin/clients.hpp"
#include "daemon/agent/builtin/turn.hpp"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace volary::builtin {

/// What a session was set up with, as far as a turn needs it.
struct TurnSettings {
    std::string session_id;
    std::string system_prompt;
    std::string model;
    int max_steps = 100;
    std::int64_t max_tokens = 8192;     ///< of one answer
    std::map<std::string, bool> tools;  ///< name or glob -> enabled; the exact name decides first
};

bool is_enabled(const std::map<std::string, bool>& rules, const std::string& tool);

/// Executes one turn: asks Turn what is next, asks the host to admit it, does it, tells it.
class TurnRunner {
public:
    struct Parts {
        ModelClient& model;
        ToolClient& tools;
        TurnHost& host;
        const Clock& clock;
        std::function<void()> save;  ///< called whenever the conversation has grown
    };

    TurnRunner(Parts parts, TurnSettings settings, Conversation& conversation);

    /// Runs until the turn has ended. Throws Error when model or host fail; the conversation is
    /// then left fit to go on. Cancelled, it throws: call cancelled() afterwards.
    asio::awaitable<acp::StopReason> run(std::string prompt);

    /// Ends the turn's open calls in the conversation and on the host's screen.
    void cancelled();

private:
    asio::awaitable<void> model_step();
    asio::awaitable<void> tool_step(ToolUse tool);
    /// What the tool prints meanwhile is shown live; a tool that fails is an outcome.
    asio::awaitable<ToolOutcome> run_tool(ToolUse tool, std::string input);
    asio::awaitable<void> ensure_tools();
    std::string make_request(const acp::StepDecision& decision) const;
    acp::Step describe_model_call() const;
    const ToolSpec* find_tool(const std::string& name) const;
    void announce(const ToolUse& tool, const std::string& title, const ToolSpec* spec);
    void update_tool(const std::string& id, acp::ToolStatus status, std::string_view text);
    void take_notes(const acp::StepDecision& decision);
    void end_step(const std::string& id, UnixMillis started, const ToolOutcome& outcome);
    void end_model_step(const std::string& id, UnixMillis started, const ModelAnswer& answer);

    Parts parts_;
    TurnSettings settings_;
    Conversation& conversation_;
    std::vector<ToolSpec> tools_;
    bool tools_known_ = false;
    std::unique_ptr<Turn> turn_;
    std::string open_step_;  // told as begun, not yet as ended
    std::string open_call_;
    UnixMillis open_since_ = 0;
    int interruptions_ = 0;  ///< of the model, in a row
};

}  // namespace volary::builtin
