// SPDX-License-Identifier: Apache-2.0
#include "base/clock.hpp"
#include "base/error.hpp"
#include "daemon/cli/verbs.hpp"
#include "daemon/http/socket.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

void print_state(const Json& state) {
    print_line(fmt::format(
        "{}  {}  {}  \"{}\"", string_or(state, "id"), string_or(state, "project"),
        string_or(state, "status"), string_or(state, "title")
    ));
    for (const auto& inv : state.at("invocations"))
        print_line(fmt::format(
            "  {:<8} {:<24} {}", string_or(inv, "state"), string_or(inv, "agent"),
            string_or(inv, "outcome")
        ));
    for (const auto& step : state.at("pending_steps"))
        print_line(fmt::format("  waits    {}", string_or(step, "title")));
    for (const auto& entry : state.at("plan").at("entries"))
        print_line(fmt::format(
            "  plan {:<3} [{}] {}", string_or(entry, "id"), string_or(entry, "status"),
            string_or(entry, "text")
        ));
    for (const auto& queued : state.at("queue"))
        print_line(fmt::format(
            "  queued {} \"{}\"", string_or(queued, "run"), string_or(queued.at("message"), "text")
        ));
}

/// One message of the stream may carry several JSON values, one a line.
std::vector<Json> values_of(const std::string& message) {
    std::vector<Json> out;
    std::size_t from = 0;
    while (from < message.size()) {
        const auto end = std::min(message.find('\n', from), message.size());
        auto value = Json::parse(message.substr(from, end - from), nullptr, false);
        if (!value.is_discarded()) out.push_back(std::move(value));
        from = end + 1;
    }
    return out;
}

void print_event(const Context& context, const Json& event) {
    if (context.json) {
        print_json(event);
        return;
    }
    const auto line = event_line(event);
    if (!line.empty()) print_line(line);
}

void throw_stream_error(const Json& value) {
    if (!value.contains("error")) return;
    const auto& error = value.at("error");
    const auto missing = string_or(error, "code") == "not_found";
    throw Error(missing ? Errc::not_found : Errc::internal, string_or(error, "message"));
}

int exit_code_of(const std::string& outcome) { return outcome == "succeeded" ? 0 : 1; }

/// Follows the session until `run` has finished; its outcome.
asio::awaitable<Json> wait_for(
    Client& client, const Context& context, std::string session, std::string run, std::int64_t after
) {
    const auto socket = co_await client.follow(session, after);
    while (auto message = co_await socket->receive()) {
        for (const auto& value : values_of(*message)) {
            throw_stream_error(value);
            if (!value.contains("event")) continue;
            const auto& event = value.at("event");
            if (!context.json) print_event(context, event);
            if (string_or(event, "run") != run) continue;
            if (string_or(event, "kind") == "run.finished") co_return event.at("body");
            if (string_or(event, "kind") == "message.cancelled")
                co_return Json{{"outcome", "cancelled"}, {"reason", ""}};
        }
    }
    throw Error(
        Errc::unavailable, "the daemon went away; the run is not over: volary tail " + session
    );
}

asio::awaitable<int> do_send(
    asio::any_io_executor executor, const Context& context, const SendOptions& options
) {
    Client client(executor, context);
    Json body = {{"text", options.text}};
    if (!options.session.empty()) body["session"] = options.session;
    const auto path = fmt::format("/api/v1/projects/{}/messages", path_segment(options.project));
    auto answer = co_await client.act("POST", path, std::move(body));
    if (!options.wait) {
        if (context.json)
            print_json(answer);
        else
            print_line(fmt::format(
                "{} accepted at {}: volary tail {}", string_or(answer, "run"),
                answer.at("seq").get<std::int64_t>(), string_or(answer, "session")
            ));
        co_return 0;
    }
    const auto seq = answer.at("seq").get<std::int64_t>();
    const auto ended = co_await wait_for(
        client, context, string_or(answer, "session"), string_or(answer, "run"), seq - 1
    );
    const auto outcome = string_or(ended, "outcome");
    if (context.json) {
        answer["outcome"] = outcome;
        answer["reason"] = string_or(ended, "reason");
        print_json(answer);
    }
    co_return exit_code_of(outcome);
}

asio::awaitable<int> do_tail(
    asio::any_io_executor executor, const Context& context, const TailOptions& options
) {
    Client client(executor, context);
    auto after = options.after;
    const auto socket = co_await client.follow(options.session, after);
    while (auto message = co_await socket->receive()) {
        for (const auto& value : values_of(*message)) {
            throw_stream_error(value);
            if (value.contains("event")) print_event(context, value.at("event"));
        }
    }
    throw Error(Errc::unavailable, "the daemon went away: " + socket->closed_reason());
}

void print_sessions(const Json& answer) {
    const auto& sessions = answer.at("sessions");
    if (sessions.empty()) print_line("no sessions yet: volary send PROJECT \"what to do\"");
    for (const auto& session : sessions)
        print_line(fmt::format(
            "{}  {:<8} {}  {}  {}", string_or(session, "id"), string_or(session, "status"),
            format_rfc3339(session.at("updated_at")).substr(0, 19), string_or(session, "project"),
            string_or(session, "title")
        ));
}

void print_done(const Json& answer) {
    print_line(fmt::format("done, at {} of the log", answer.at("seq").get<std::int64_t>()));
}

asio::awaitable<int> do_plan(
    asio::any_io_executor executor, const Context& context, const std::string& session
) {
    Client client(executor, context);
    const auto state = co_await client.get("/api/v1/sessions/" + path_segment(session));
    const auto& plan = state.at("plan");
    if (context.json) {
        print_json(plan);
        co_return 0;
    }
    if (plan.at("entries").empty()) print_line("no plan yet");
    for (const auto& entry : plan.at("entries"))
        print_line(fmt::format(
            "{:<3} {:<12} {}", string_or(entry, "id"), string_or(entry, "status"),
            string_or(entry, "text")
        ));
    co_return 0;
}

}  // namespace

int send(const Context& context, const SendOptions& options) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_send(std::move(executor), context, options);
    };
    return run(verb);
}

int tail(const Context& context, const TailOptions& options) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_tail(std::move(executor), context, options);
    };
    return run(verb);
}

int session_list(const Context& context, const std::string& project) {
    std::string path = "/api/v1/sessions?limit=200";
    if (!project.empty()) path += "&project=" + path_segment(project);
    return show(context, path, print_sessions);
}

int session_show(const Context& context, const std::string& session) {
    return show(context, session_path(session), print_state);
}

int session_act(const Context& context, const std::string& session, const std::string& word) {
    return act(context, "POST", session_path(session) + "/" + word, Json::object(), print_done);
}

int session_plan(const Context& context, const PlanOptions& options) {
    if (options.entry.empty()) {
        const auto verb = [&](asio::any_io_executor executor) {
            return do_plan(std::move(executor), context, options.session);
        };
        return run(verb);
    }
    Json body = Json::object();
    if (options.text) body["text"] = *options.text;
    if (options.status) body["status"] = *options.status;
    const auto path =
        session_path(options.session) + "/plan/entries/" + path_segment(options.entry);
    return act(context, "PATCH", path, body, print_done);
}

int session_cancel(const Context& context, const std::string& session, const std::string& id) {
    const auto path = session_path(session) + "/queue/" + path_segment(id);
    return act(context, "DELETE", path, Json::object(), print_done);
}

}  // namespace volary::cli
