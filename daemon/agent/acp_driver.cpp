// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "cage/cage.hpp"
#include "cage/spawner.hpp"
#include "daemon/acp/connection.hpp"
#include "daemon/acp/types.hpp"
#include "daemon/agent/drivers.hpp"
#include "daemon/agent/mcp.hpp"
#include "daemon/agent/output_log.hpp"
#include "daemon/agent/streams.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::agent {
namespace {

using std::chrono::seconds;

constexpr seconds kGreeting{20};  // a cold start of a large agent on a busy host
constexpr std::size_t kMaxResult = 64 * 1024;
constexpr std::size_t kMaxRef = 128;      // bytes of an agent's own name for a step
constexpr std::size_t kMaxSession = 128;  // bytes of an agent's own name for a session
constexpr std::uint64_t kMaxUnmarked = std::uint64_t{1} << 20U;  // of a spool of 16 MiB
constexpr std::size_t kMaxPrompt = 256 * 1024;  // the project file's own limit for a prompt file

constexpr std::string_view kMcpUrl = "http://volary.internal/mcp";
constexpr std::string_view kModelUrl = "http://models.volary.internal/anthropic";

std::string read_prompt(const dsl::Agent& agent) {
    if (agent.system_prompt.empty()) return {};
    std::ifstream file(agent.system_prompt, std::ios::binary);
    std::string text(kMaxPrompt, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (file.bad() || (!file.is_open()))
        throw Error(Errc::io, fmt::format("read the system prompt \"{}\"", agent.system_prompt));
    return text;
}

Ending ending_of(acp::StopReason reason, std::string result) {
    switch (reason) {
        case acp::StopReason::end_turn:
            return {"succeeded", "", std::move(result)};
        case acp::StopReason::cancelled:
            return {"stopped", "cancelled", std::move(result)};
        case acp::StopReason::max_tokens:
            return {"failed", "the model's answer hit max_tokens", std::move(result)};
        case acp::StopReason::max_turn_requests:
            return {"failed", "max_steps is used up", std::move(result)};
        case acp::StopReason::refusal:
            return {"failed", "the model refused to answer", std::move(result)};
    }
    return {"failed", "unknown stop reason", std::move(result)};
}

class AcpDriver final : public Driver {
public:
    AcpDriver(const asio::any_io_executor& executor, Worker& worker, Host& host, const Clock& clock)
        : executor_(executor),
          worker_(worker),
          host_(host),
          clock_(clock),
          stderr_(worker, host, "stderr"),
          stray_(worker, host, "stdout"),
          agent_(executor, make_stream_transport(worker.cage->streams()), resume_of(worker)),
          scope_(executor, log_task_errors()) {}

    asio::awaitable<std::optional<Ending>> run() override {
        listen();
        scope_.spawn("stderr", stderr_.drain(cage::Stream::err));
        scope_.spawn("acp", agent_.run());
        const auto earlier = agent_.called_before(acp::method::kSessionPrompt);
        auto ended = earlier ? co_await go_on(*earlier) : co_await begin();
        if (!ended) co_return Ending{"stopped", worker_.stop_reason, ""};
        worker_.cancel = nullptr;
        // Its text is as durable as the lines before the one that ended the turn.
        host_.end_stream(at(agent_.place().begin));
        co_return ending_of(acp::parse_prompt_result(*ended), std::move(last_text_));
    }

    asio::awaitable<void> close() override {
        worker_.cancel = nullptr;
        co_await agent_.close();
        co_await scope_.close();
        worker_.on_durable = nullptr;
    }

private:
    static acp::ConnectionResume resume_of(const Worker& worker) {
        acp::ConnectionResume out;
        out.taken = worker.cage->taken_tags();
        if (!worker.resume) return out;
        out.from = worker.cage->begins_at(cage::Stream::out);
        const auto is_prompt = [](const std::string& tag) {
            return tag.find(acp::method::kSessionPrompt) != std::string::npos;
        };
        // What came before the turn did nothing yet: it is gone through from the start.
        if (std::ranges::any_of(out.taken, is_prompt))
            out.applied = worker.applied(cage::Stream::out);
        return out;
    }

    /// Greets the agent, opens its session and asks; the answer, or nothing when it was stopped
    /// before that.
    asio::awaitable<std::optional<Json>> begin() {
        auto hello = acp::make_initialize("volary", VOLARY_VERSION);
        auto answer = co_await agent_.call(acp::method::kInitialize, std::move(hello), kGreeting);
        const auto info = acp::parse_initialize_result(answer);
        co_await open_session(info);
        if (worker_.stopping) co_return std::nullopt;
        worker_.cancel = [this] { ask_to_cancel(); };
        auto prompt = acp::make_prompt(session_, worker_.input);
        prompted_ = true;
        auto ended =
            co_await agent_.call_noted(acp::method::kSessionPrompt, std::move(prompt), session_);
        co_return ended;
    }

    /// Waits for the answer to what an earlier daemon asked.
    asio::awaitable<std::optional<Json>> go_on(std::string session) {
        session_ = std::move(session);
        prompted_ = true;
        if (worker_.resume) {
            steps_ = worker_.resume->steps;
            last_text_ = worker_.resume->last_text;
        }
        worker_.cancel = [this] { ask_to_cancel(); };
        auto ended = co_await agent_.rejoin(acp::method::kSessionPrompt);
        co_return ended;
    }

    /// Whose word it is, and that everything before `offset` of the agent's output took effect with
    /// it. What comes before the turn is not counted: a new daemon goes through it again.
    Origin at(std::uint64_t offset) const {
        auto out = worker_.origin;
        if (prompted_) out.place = worker_.place(cage::Stream::out, offset);
        return out;
    }

    void on_durable(cage::Stream stream, std::uint64_t offset) {
        // A request that was not answered yet is heard again by the next daemon.
        if (stream == cage::Stream::out) offset = agent_.unanswered_from(offset);
        worker_.cage->streams().ack(stream, offset);
    }

    void listen() {
        worker_.on_durable = [this](cage::Stream stream, std::uint64_t offset) {
            on_durable(stream, offset);
        };
        agent_.on_request(acp::method::kStep, [this](Json params) {
            return on_step(std::move(params));
        });
        agent_.on_request(acp::method::kRequestPermission, [this](Json params) {
            return on_permission(std::move(params));
        });
        agent_.on_notification(acp::method::kSessionUpdate, [this](Json params) {
            return on_update(std::move(params));
        });
        agent_.on_notification(acp::method::kStepEnd, [this](Json params) {
            return on_step_end(std::move(params));
        });
        agent_.on_stray([this](std::string line) {
            if (scope_.closing()) return;
            const auto place = at(agent_.place().end).place;
            scope_.spawn("stray line", stray_.take(std::move(line) + "\n", place));
        });
    }

    asio::awaitable<void> open_session(acp::AgentInfo info) {
        auto setup = make_setup();
        if (!worker_.agent_session.empty() && info.load_session) {
            setup.session_id = worker_.agent_session;
            const bool loaded = co_await load(setup);
            if (loaded) {
                session_ = worker_.agent_session;
                co_return;
            }
            setup.session_id.clear();
        }
        auto params = acp::make_session_setup(setup);
        auto opened = co_await agent_.call(acp::method::kSessionNew, std::move(params), kGreeting);
        session_ = acp::parse_session_ref(opened);
        if (session_.size() > kMaxSession)
            throw Error(
                Errc::invalid, fmt::format(
                                   "session/new: sessionId: {} bytes, at most {} are taken",
                                   session_.size(), kMaxSession
                               )
            );
        host_.agent_session(worker_.origin, session_);
    }

    asio::awaitable<bool> load(acp::SessionSetup setup) {
        try {
            auto params = acp::make_session_setup(setup);
            quiet_ = true;  // the history that session/load plays back is in our log already
            co_await agent_.call(acp::method::kSessionLoad, std::move(params), kGreeting);
            quiet_ = false;
            co_return true;
        } catch (const acp::RpcError& error) {
            quiet_ = false;
            log::warning(
                "an agent's session was not found: it begins anew",
                {{"session", worker_.origin.session.str()}, {"error", error.what()}}
            );
            co_return false;
        }
    }

    acp::SessionSetup make_setup() const {
        const auto& agent = *worker_.agent;
        acp::SessionSetup setup;
        setup.cwd = "/workspace";
        setup.mcp_servers.push_back({"volary", std::string(kMcpUrl), {}});
        setup.system_prompt = read_prompt(agent);
        setup.model = agent.model;
        setup.model_url = kModelUrl;
        setup.max_steps = static_cast<int>(agent.max_steps.value_or(0));
        // Globs are for the daemon to resolve: the agent hears of the tools it has itself.
        setup.tools["shell"] = is_tool_enabled(agent, "shell");
        return setup;
    }

    asio::awaitable<Json> on_step(Json params) {
        const auto place = agent_.place();
        const auto step = acp::parse_step(params);
        host_.end_stream(at(place.begin));
        // One that an earlier daemon has recorded keeps its id.
        const auto id = steps_.try_emplace(step.id, StepId::make(clock_)).first->second;
        const auto gate = std::make_shared<Gate>(executor_);
        worker_.gates[id] = gate;
        StepInfo info{id, step.type, step.name, step.title, step.arguments, {}};
        // It goes into the log, for a daemon that comes after us.
        if (step.id.size() <= kMaxRef) info.ref = step.id;
        const auto decision = co_await pass(gate, std::move(info), at(place.end));
        worker_.gates.erase(id);
        co_return acp::make_step_decision(decision);
    }

    asio::awaitable<acp::StepDecision> pass(
        std::shared_ptr<Gate> gate, StepInfo step, Origin origin
    ) {
        acp::StepDecision decision;
        try {
            if (worker_.stopping) throw Error(Errc::conflict, "the run is being stopped");
            co_await host_.request_step(std::move(origin), std::move(step));
            while (!gate->admitted && !gate->refused) co_await gate->changed.wait();
            decision.proceed = gate->admitted;
            decision.notes = std::move(gate->notes);
        } catch (const Error& error) {
            decision.proceed = false;
            decision.notes.emplace_back(error.what());
        }
        co_return decision;
    }

    asio::awaitable<void> on_step_end(Json params) {
        const auto end = acp::parse_step_end(params);
        const auto known = steps_.extract(end.id);
        if (known.empty()) co_return;
        StepResult result{known.mapped(), end.ok, end.result, end.duration_ms, {}};
        if (end.usage) {
            const Json usage = {
                {"input_tokens", end.usage->input_tokens},
                {"output_tokens", end.usage->output_tokens}
            };
            result.usage = dump_json(usage);
        }
        const auto place = agent_.place();
        host_.end_stream(at(place.begin));
        host_.finish_step(at(place.end), result);
    }

    asio::awaitable<Json> on_permission(Json params) {
        // Inside the cage nothing is asked: the cage is the permission (docs/dsl.md, approvals).
        const auto request = acp::parse_permission_request(params);
        for (const auto& option : request.options) {
            if (option.kind == "allow_once" && !worker_.stopping)
                co_return acp::make_permission_selected(option.id);
        }
        co_return acp::make_permission_cancelled();
    }

    asio::awaitable<void> on_update(Json params) {
        if (quiet_) co_return;
        const auto place = agent_.place();
        // What the shim must keep for the next daemon stays small, whatever an agent says.
        if (prompted_ && place.begin > marked_ + kMaxUnmarked) {
            host_.end_stream(at(place.begin));
            host_.passed(at(place.begin));
            marked_ = place.begin;
        }
        const auto update = acp::parse_update(params);
        switch (update.kind) {
            case acp::Update::Kind::agent_message:
                take_text(update.text);
                break;
            case acp::Update::Kind::agent_thought:
                host_.stream(worker_.origin, "thought", update.text);
                break;
            case acp::Update::Kind::tool_call:
                last_is_whole_ = true;
                break;
            case acp::Update::Kind::tool_update:
                if (!update.tool.text.empty() && update.tool.status == acp::ToolStatus::in_progress)
                    co_await take_output(update.tool.text);
                break;
            default:
                break;
        }
    }

    asio::awaitable<void> take_output(std::string text) {
        const auto place = agent_.place();
        // What it said before must not be behind the place that the output is recorded with.
        host_.end_stream(at(place.begin));
        co_await stray_.take(std::move(text), at(place.end).place);
    }

    void take_text(const std::string& text) {
        if (std::exchange(last_is_whole_, false)) last_text_.clear();
        if (last_text_.size() < kMaxResult) last_text_ += utf8_prefix(text, kMaxResult);
        host_.stream(worker_.origin, "text", text);
    }

    void ask_to_cancel() {
        if (scope_.closing()) return;
        auto params = acp::make_session_ref(session_);
        scope_.spawn("cancel", tell_cancel(std::move(params)));
    }

    asio::awaitable<void> tell_cancel(Json params) {
        try {
            co_await agent_.notify(acp::method::kSessionCancel, std::move(params));
        } catch (const Error&) {
            // It is gone already: what follows ends its cage.
        }
    }

    asio::any_io_executor executor_;
    Worker& worker_;
    Host& host_;
    const Clock& clock_;
    std::string session_;
    std::map<std::string, StepId> steps_;  ///< the agent's own step ids
    std::string last_text_;                ///< the newest message: the invocation's result
    bool last_is_whole_ = false;
    bool quiet_ = false;
    bool prompted_ = false;
    std::uint64_t marked_ = 0;
    OutputLog stderr_;
    OutputLog stray_;
    acp::Connection agent_;
    TaskScope scope_;
};

}  // namespace

std::unique_ptr<Driver> make_acp_driver(
    const asio::any_io_executor& executor, Worker& worker, Host& host, const Clock& clock
) {
    return std::make_unique<AcpDriver>(executor, worker, host, clock);
}

}  // namespace volary::agent
