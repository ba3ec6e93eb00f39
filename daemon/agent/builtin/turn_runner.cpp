// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/turn_runner.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "daemon/agent/builtin/live_output.hpp"

#include <algorithm>
#include <fnmatch.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

/// A daemon that restarts cuts a call once; a server that is down is told after a few.
constexpr int kMaxInterruptions = 3;
constexpr std::size_t kTitleBytes = 120;  // one line on a phone, or two
constexpr JsonLimits kInputLimits{std::size_t{64} << 20U, 128};

std::string first_line(std::string_view text, std::size_t max) {
    return std::string(utf8_prefix(text.substr(0, text.find('\n')), max));
}

Json object_of(const std::string& text) {
    auto doc = parse_json(text, kInputLimits);
    return doc && doc->is_object() ? std::move(*doc) : Json::object();
}

std::string title_of(const ToolUse& tool, const ToolSpec* spec) {
    const auto input = object_of(tool.input);
    if (const auto command = string_or(input, "command"); !command.empty())
        return first_line(command, kTitleBytes);
    const auto name = spec != nullptr && !spec->title.empty() ? spec->title : tool.name;
    for (const auto* key : {"agent", "signal", "name", "path", "url"})
        if (const auto value = string_or(input, key); !value.empty())
            return first_line(name + " " + value, kTitleBytes);
    return name;
}

}  // namespace

bool is_enabled(const std::map<std::string, bool>& rules, const std::string& tool) {
    if (const auto exact = rules.find(tool); exact != rules.end()) return exact->second;
    return std::all_of(rules.begin(), rules.end(), [&](const auto& rule) {
        return rule.second || ::fnmatch(rule.first.c_str(), tool.c_str(), 0) != 0;
    });
}

TurnRunner::TurnRunner(Parts parts, TurnSettings settings, Conversation& conversation)
    : parts_(std::move(parts)), settings_(std::move(settings)), conversation_(conversation) {}

asio::awaitable<acp::StopReason> TurnRunner::run(std::string prompt) {
    turn_ = std::make_unique<Turn>(conversation_, prompt, settings_.max_steps);
    parts_.save();
    try {
        while (true) {
            auto action = turn_->next();
            if (const auto* done = std::get_if<Turn::Finish>(&action)) {
                parts_.save();
                co_return done->reason;
            }
            if (auto* call = std::get_if<Turn::CallTool>(&action)) {
                co_await tool_step(std::move(call->tool));
            } else {
                co_await model_step();
            }
            parts_.save();
        }
    } catch (const Error& e) {
        if (!open_step_.empty()) end_step(open_step_, open_since_, {false, e.what()});
        turn_->abandon();
        parts_.save();
        throw;
    }
}

void TurnRunner::cancelled() {
    if (!turn_) return;
    if (!open_call_.empty()) update_tool(open_call_, acp::ToolStatus::failed, "cancelled");
    if (!open_step_.empty()) end_step(open_step_, open_since_, {false, "cancelled"});
    turn_->cancel();
    parts_.save();
}

const ToolSpec* TurnRunner::find_tool(const std::string& name) const {
    for (const auto& tool : tools_)
        if (tool.name == name) return &tool;
    return nullptr;
}

asio::awaitable<void> TurnRunner::ensure_tools() {
    if (tools_known_) co_return;
    auto tools = co_await parts_.tools.list();
    std::erase_if(tools, [&](const ToolSpec& tool) {
        return !is_enabled(settings_.tools, tool.name);
    });
    tools_ = std::move(tools);
    tools_known_ = true;
}

void TurnRunner::take_notes(const acp::StepDecision& decision) {
    for (const auto& note : decision.notes) turn_->note(note);
}

acp::Step TurnRunner::describe_model_call() const {
    const Json arguments = {
        {"model", settings_.model},
        {"max_tokens", settings_.max_tokens},
        {"messages", conversation_.messages().size()},
        {"tools", tools_.size()},
    };
    acp::Step step;
    step.session_id = settings_.session_id;
    step.id = StepId::make(parts_.clock).str();
    step.type = "model";
    step.name = settings_.model;
    step.title = "ask " + settings_.model;
    step.arguments = dump_json(arguments);
    return step;
}

std::string TurnRunner::make_request(const acp::StepDecision& decision) const {
    auto tools = Json::array();
    for (const auto& tool : tools_)
        tools.push_back(
            {{"name", tool.name}, {"description", tool.description}, {"input_schema", *tool.schema}}
        );
    Json request = {
        {"model", settings_.model},
        {"max_tokens", settings_.max_tokens},
        {"stream", true},
        {"messages", conversation_.messages()},
    };
    if (!settings_.system_prompt.empty()) request["system"] = settings_.system_prompt;
    if (!tools.empty()) request["tools"] = std::move(tools);
    const auto edited = object_of(decision.arguments);
    if (const auto model = string_or(edited, "model"); !model.empty()) request["model"] = model;
    const auto max = edited.find("max_tokens");
    if (max != edited.end() && max->is_number_integer()) request["max_tokens"] = *max;
    return dump_json(request);
}

asio::awaitable<void> TurnRunner::model_step() {
    co_await ensure_tools();
    auto step = describe_model_call();
    const auto id = step.id;
    const auto decision = co_await parts_.host.ask_step(std::move(step));
    take_notes(decision);
    if (!decision.proceed) {
        turn_->model_refused();
        co_return;
    }
    turn_->begin_model_call();
    parts_.save();
    open_step_ = id;
    open_since_ = parts_.clock.now_ms();
    OnDelta on_delta = [this](const Delta& delta) {
        acp::Update update;
        update.session_id = settings_.session_id;
        update.kind = delta.kind == Delta::Kind::text ? acp::Update::Kind::agent_message
                                                      : acp::Update::Kind::agent_thought;
        update.text = delta.text;
        parts_.host.update(std::move(update));
    };
    auto request = make_request(decision);
    ModelAnswer answer;
    std::string cut;
    try {
        auto answered = co_await parts_.model.ask(std::move(request), std::move(on_delta));
        answer = std::move(answered);
    } catch (const Interrupted& error) {
        if (++interruptions_ > kMaxInterruptions) throw;
        cut = error.what();
    }
    if (!cut.empty()) {
        // What it said so far stays in the log as it is; the model is asked once more.
        end_step(id, open_since_, {false, "interrupted, asked again: " + cut});
        co_return;
    }
    interruptions_ = 0;
    turn_->model_answered(answer);
    end_model_step(id, open_since_, answer);
}

void TurnRunner::announce(const ToolUse& tool, const std::string& title, const ToolSpec* spec) {
    acp::Update update;
    update.session_id = settings_.session_id;
    update.kind = acp::Update::Kind::tool_call;
    update.tool.id = tool.id;
    update.tool.title = title;
    update.tool.kind = spec != nullptr ? spec->kind : "other";
    update.tool.status = acp::ToolStatus::pending;
    update.tool.raw_input = tool.input;
    parts_.host.update(std::move(update));
}

void TurnRunner::update_tool(const std::string& id, acp::ToolStatus status, std::string_view text) {
    acp::Update update;
    update.session_id = settings_.session_id;
    update.kind = acp::Update::Kind::tool_update;
    update.tool.id = id;
    update.tool.status = status;
    update.tool.text = text;
    parts_.host.update(std::move(update));
}

asio::awaitable<ToolOutcome> TurnRunner::run_tool(ToolUse tool, std::string input) {
    const auto executor = co_await asio::this_coro::executor;
    LiveOutput::Show show = [this, call = tool.id](std::string_view text) {
        update_tool(call, acp::ToolStatus::in_progress, text);
    };
    const auto live = std::make_shared<LiveOutput>(executor, std::move(show));
    OnOutput on_output = [live](std::string_view bytes) { live->add(bytes); };
    ToolOutcome outcome;
    // An unreachable tool server is the model's to deal with: the turn goes on.
    try {
        auto done = co_await parts_.tools.call(tool.name, std::move(input), std::move(on_output));
        outcome = std::move(done);
    } catch (const Error& e) {
        outcome = {false, e.what()};
    } catch (...) {
        // Cancelled: what it printed until now still belongs to the log.
        live->finish();
        throw;
    }
    live->finish();
    co_return outcome;
}

asio::awaitable<void> TurnRunner::tool_step(ToolUse tool) {
    // A conversation that was loaded may begin with a tool call.
    co_await ensure_tools();
    const auto* spec = find_tool(tool.name);
    const auto title = title_of(tool, spec);
    announce(tool, title, spec);
    open_call_ = tool.id;
    acp::Step step{settings_.session_id,
                   StepId::make(parts_.clock).str(),
                   "tool",
                   tool.name,
                   title,
                   tool.input};
    const auto id = step.id;
    const auto decision = co_await parts_.host.ask_step(std::move(step));
    take_notes(decision);
    ToolOutcome outcome{false, "refused by the operator"};
    if (decision.proceed) {
        open_step_ = id;
        open_since_ = parts_.clock.now_ms();
        update_tool(tool.id, acp::ToolStatus::in_progress, "");
        auto input = tool.input;
        if (!decision.arguments.empty() && object_of(decision.arguments) != object_of(input)) {
            input = decision.arguments;
            turn_->note(fmt::format(
                "The arguments of your call of {} were changed to {} before it ran.", tool.name,
                input
            ));
        }
        if (spec == nullptr) {
            outcome = {false, "there is no tool named " + tool.name};
        } else {
            auto done = co_await run_tool(tool, std::move(input));
            outcome = std::move(done);
        }
    }
    turn_->tool_finished(tool.id, outcome.text, !outcome.ok);
    const auto status = outcome.ok ? acp::ToolStatus::completed : acp::ToolStatus::failed;
    update_tool(tool.id, status, outcome.text);
    open_call_.clear();
    if (decision.proceed) end_step(id, open_since_, outcome);
}

void TurnRunner::end_step(const std::string& id, UnixMillis started, const ToolOutcome& outcome) {
    acp::StepEnd end;
    end.session_id = settings_.session_id;
    end.id = id;
    end.ok = outcome.ok;
    end.result = outcome.text;
    end.duration_ms = parts_.clock.now_ms() - started;
    open_step_.clear();
    parts_.host.step_ended(std::move(end));
}

void TurnRunner::end_model_step(
    const std::string& id, UnixMillis started, const ModelAnswer& answer
) {
    acp::StepEnd end;
    end.session_id = settings_.session_id;
    end.id = id;
    end.result = answer.stop_reason;
    end.duration_ms = parts_.clock.now_ms() - started;
    end.usage = answer.usage;
    open_step_.clear();
    parts_.host.step_ended(std::move(end));
}

}  // namespace volary::builtin
