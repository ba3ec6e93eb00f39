// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/agent.hpp"

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/log.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "daemon/acp/connection.hpp"
#include "daemon/acp/types.hpp"
#include "daemon/agent/builtin/history.hpp"
#include "daemon/agent/builtin/http_model_client.hpp"
#include "daemon/agent/builtin/mcp_client.hpp"
#include "daemon/agent/builtin/shell_tool.hpp"
#include "daemon/agent/builtin/tool_box.hpp"
#include "daemon/agent/builtin/turn_runner.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

constexpr std::size_t kMaxSessions = 64;  // one or two are usual; a client that leaks ends here
constexpr std::size_t kMaxIdBytes = 128;

bool is_session_id(std::string_view id) {
    const auto good = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    };
    return !id.empty() && id.size() <= kMaxIdBytes && std::all_of(id.begin(), id.end(), good);
}

/// The client's side of a turn: steps are asked, updates are posted.
class AcpHost final : public TurnHost {
public:
    explicit AcpHost(acp::Connection& client) : client_(client) {}

    asio::awaitable<acp::StepDecision> ask_step(acp::Step step) override {
        if (!steps_) co_return acp::StepDecision{};
        try {
            const auto answer = co_await client_.call(acp::method::kStep, acp::make_step(step));
            co_return acp::parse_step_decision(answer);
        } catch (const acp::RpcError& e) {
            if (e.rpc_code() != acp::rpc::kMethodNotFound) throw;
        }
        // An ACP client without our extension: nobody holds, everything proceeds.
        steps_ = false;
        co_return acp::StepDecision{};
    }

    void step_ended(acp::StepEnd end) override {
        if (steps_) client_.post(acp::method::kStepEnd, acp::make_step_end(end));
    }

    void update(acp::Update update) override {
        client_.post(acp::method::kSessionUpdate, acp::make_update(update));
    }

private:
    acp::Connection& client_;
    bool steps_ = true;
};

struct Session {
    explicit Session(const asio::any_io_executor& executor) : changed(executor) {}

    TurnSettings settings;
    std::string file;
    Conversation conversation;
    std::unique_ptr<ModelClient> model;
    ToolBox tools;
    std::optional<TaskScope::TaskId> turn;
    acp::StopReason outcome = acp::StopReason::end_turn;
    std::exception_ptr failure;
    Notifier changed;
};

/// Cancels the turn when the request that waits for it is cancelled.
class TurnGuard {
public:
    TurnGuard(TaskScope& scope, std::shared_ptr<Session> session)
        : scope_(scope), session_(std::move(session)) {}
    TurnGuard(const TurnGuard&) = delete;
    TurnGuard& operator=(const TurnGuard&) = delete;
    ~TurnGuard() {
        if (session_->turn) scope_.cancel(*session_->turn);
    }

private:
    TaskScope& scope_;
    std::shared_ptr<Session> session_;
};

}  // namespace

class Agent::Impl {
public:
    Impl(asio::any_io_executor executor, acp::Connection& client, std::string folder)
        : executor_(std::move(executor)),
          client_(client),
          folder_(std::move(folder)),
          host_(client),
          scope_(executor_, log_task_errors()) {}

    asio::awaitable<Json> initialize(Json params);
    asio::awaitable<Json> new_session(Json params);
    asio::awaitable<Json> load_session(Json params);
    asio::awaitable<Json> prompt(Json params);
    asio::awaitable<void> cancel(Json params);
    asio::awaitable<void> close() { return scope_.close(); }

private:
    std::shared_ptr<Session> make_session(const acp::SessionSetup& setup, const std::string& id);
    std::shared_ptr<Session> find_session(const Json& params) const;
    asio::awaitable<void> run_turn(std::shared_ptr<Session> session, std::string prompt);

    asio::any_io_executor executor_;
    acp::Connection& client_;
    std::string folder_;
    AcpHost host_;
    SystemClock clock_;
    std::map<std::string, std::shared_ptr<Session>> sessions_;
    TaskScope scope_;
};

asio::awaitable<Json> Agent::Impl::initialize(Json /*params*/) {
    acp::AgentInfo info;
    info.name = "volary-agent";
    info.version = VOLARY_VERSION;
    info.load_session = info.mcp_http = info.steps = true;
    co_return acp::make_initialize_result(info);
}

std::shared_ptr<Session> Agent::Impl::make_session(
    const acp::SessionSetup& setup, const std::string& id
) {
    if (sessions_.size() >= kMaxSessions && !sessions_.contains(id))
        throw Error(Errc::busy, fmt::format("{} sessions are open, no more fit", kMaxSessions));
    if (setup.model_url.empty())
        throw Error(
            Errc::invalid,
            "session: _meta[\"volary.dev\"].modelUrl: required: where models are asked"
        );
    auto session = std::make_shared<Session>(executor_);
    session->settings.session_id = id;
    session->settings.system_prompt = setup.system_prompt;
    session->settings.model = setup.model;
    if (setup.max_steps > 0) session->settings.max_steps = setup.max_steps;
    session->settings.tools = setup.tools;
    session->file = fmt::format("{}/{}.json", folder_, id);
    session->model = std::make_unique<HttpModelClient>(executor_, setup.model_url);
    if (is_enabled(setup.tools, ShellTool::kName))
        session->tools.add(std::make_unique<ShellTool>(setup.cwd));
    for (const auto& server : setup.mcp_servers)
        session->tools.add(std::make_unique<McpClient>(executor_, server));
    return session;
}

asio::awaitable<Json> Agent::Impl::new_session(Json params) {
    const auto setup = acp::parse_session_setup(params);
    const auto id = "sess_" + make_ulid(clock_.now_ms());
    sessions_[id] = make_session(setup, id);
    co_return acp::make_session_ref(id);
}

asio::awaitable<Json> Agent::Impl::load_session(Json params) {
    const auto setup = acp::parse_session_setup(params);
    const auto id = setup.session_id;
    if (!is_session_id(id)) throw Error(Errc::invalid, "session/load: sessionId: is none of ours");
    const auto open = sessions_.find(id);
    if (open != sessions_.end() && open->second->turn)
        throw Error(Errc::conflict, "session/load: a turn of this session is running");
    auto session = make_session(setup, id);
    session->conversation = load_conversation(session->file);
    sessions_[id] = session;
    // ACP: the whole history is told again before the answer.
    for (auto& update : history_updates(session->conversation, id))
        co_await client_.notify(acp::method::kSessionUpdate, acp::make_update(update));
    co_return Json::object();
}

std::shared_ptr<Session> Agent::Impl::find_session(const Json& params) const {
    const auto id = acp::parse_session_ref(params);
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) throw Error(Errc::not_found, "no session " + id);
    return found->second;
}

asio::awaitable<Json> Agent::Impl::prompt(Json params) {
    const auto session = find_session(params);
    if (session->turn)
        throw acp::RpcError(acp::rpc::kInvalidRequest, "a turn of this session is running");
    auto text = acp::parse_prompt_text(params);
    if (text.empty()) throw Error(Errc::invalid, "session/prompt: prompt: no text in it");
    session->failure = nullptr;
    session->turn = scope_.spawn("turn", run_turn(session, std::move(text)));
    const TurnGuard guard(scope_, session);
    while (session->turn) co_await session->changed.wait();
    if (session->failure) std::rethrow_exception(session->failure);
    co_return acp::make_prompt_result(session->outcome);
}

asio::awaitable<void> Agent::Impl::run_turn(std::shared_ptr<Session> session, std::string prompt) {
    auto save = [session = session.get()] {
        try {
            save_conversation(session->file, session->conversation);
        } catch (const Error& e) {
            // The turn is worth more than its copy: only a restart would miss it.
            log::warning("the conversation is not kept", {{"error", e.what()}});
        }
    };
    const TurnRunner::Parts parts{*session->model, session->tools, host_, clock_, std::move(save)};
    TurnRunner runner(parts, session->settings, session->conversation);
    try {
        session->outcome = co_await runner.run(std::move(prompt));
    } catch (...) {
        const auto error = std::current_exception();
        if (is_cancellation(error)) {
            runner.cancelled();
            session->outcome = acp::StopReason::cancelled;
        } else {
            session->failure = error;
        }
    }
    session->turn.reset();
    session->changed.notify();
}

asio::awaitable<void> Agent::Impl::cancel(Json params) {
    const auto found =
        params.is_object() ? sessions_.find(string_or(params, "sessionId")) : sessions_.end();
    if (found != sessions_.end() && found->second->turn) scope_.cancel(*found->second->turn);
    co_return;
}

Agent::Agent(asio::any_io_executor executor, acp::Connection& client, std::string folder)
    : impl_(std::make_shared<Impl>(std::move(executor), client, std::move(folder))) {
    auto* impl = impl_.get();
    client.on_request(acp::method::kInitialize, [impl](Json p) {
        return impl->initialize(std::move(p));
    });
    client.on_request(acp::method::kSessionNew, [impl](Json p) {
        return impl->new_session(std::move(p));
    });
    client.on_request(acp::method::kSessionLoad, [impl](Json p) {
        return impl->load_session(std::move(p));
    });
    client.on_request(acp::method::kSessionPrompt, [impl](Json p) {
        return impl->prompt(std::move(p));
    });
    client.on_notification(acp::method::kSessionCancel, [impl](Json p) {
        return impl->cancel(std::move(p));
    });
}

Agent::~Agent() = default;

asio::awaitable<void> Agent::close() { return impl_->close(); }

}  // namespace volary::builtin
