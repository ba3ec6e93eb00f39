// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "base/json_text.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/store/store.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

constexpr std::int64_t kMaxPage = 1000;
constexpr std::int64_t kNoEnd = std::int64_t{1} << 53U;  // what JavaScript counts exactly

Json row_json(const store::SessionRow& row) {
    return {{"id", row.id.str()},           {"project", row.project},
            {"title", row.title},           {"status", row.status},
            {"created_at", row.created_at}, {"updated_at", row.updated_at},
            {"last_seq", row.last_seq}};
}

asio::awaitable<http::Response> list(const Services& services, http::Request& request) {
    store::SessionFilter filter;
    filter.project = request.query_value("project").value_or("");
    filter.limit = number_of(request, "limit", 50, 1, 200);
    filter.offset = number_of(request, "offset", 0, 0, kNoEnd);
    const auto page = co_await services.store.sessions(std::move(filter));
    Json sessions = Json::array();
    for (const auto& row : page.sessions) sessions.push_back(row_json(row));
    co_return json_answer(200, {{"sessions", std::move(sessions)}, {"total", page.total}});
}

asio::awaitable<http::Response> show(const Services& services, http::Request& request) {
    const auto state = co_await services.sessions.state(session_of(request));
    co_return json_answer(200, session::public_json(state));
}

asio::awaitable<http::Response> events(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    const auto limit = number_of(request, "limit", 200, 1, kMaxPage);
    const auto last = co_await services.sessions.last_seq(session);
    std::string page;
    if (request.query_value("before")) {
        if (request.query_value("after"))
            throw Error(Errc::invalid, "query: after and before exclude each other");
        const auto before = number_of(request, "before", kNoEnd, 1, kNoEnd);
        page = co_await services.store.events_page_json_before(session, before, limit);
    } else {
        const auto after = number_of(request, "after", 0, 0, kNoEnd);
        page = co_await services.store.events_page_json(session, after, limit);
    }
    // Put together as text: the rows are JSON already, and a page has hundreds.
    auto body = fmt::format(
        R"({{"epoch":{},"last_seq":{},"events":)", json_quote(services.store.epoch()), last
    );
    body.append(page).push_back('}');
    co_return http::Response::json(200, std::move(body));
}

/// What the operator asks of a session, from the body of the request.
using ReadCommand = session::Command (*)(const http::Request& request);

/// The run that is meant, where the client names it.
RunId meant_run(const http::Request& request) {
    const auto doc = body_of(request);
    Fields fields(doc, "body");
    auto run = fields.optional_string("run").value_or("");
    if (!run.empty() && !is_id(run, RunTag::prefix)) fields.problem("run", "must be a run id");
    fields.done();
    return RunId(std::move(run));
}

session::Command read_hold(const http::Request& request) {
    return session::Hold{meant_run(request)};
}

session::Command read_resume(const http::Request& request) {
    return session::Resume{meant_run(request)};
}

session::Command read_stop(const http::Request& request) {
    return session::Stop{"stopped by the operator", meant_run(request)};
}

session::Command read_edit(const http::Request& request) {
    const auto doc = body_of(request);
    Fields fields(doc, "body");
    session::EditPlan edit{
        request.params.at(1), fields.optional_string("text"), fields.optional_string("status")
    };
    fields.done();
    return edit;
}

session::Command read_cancel(const http::Request& request) {
    if (!is_id(request.params.at(1), RunTag::prefix))
        throw Error(Errc::not_found, "no queued message with run " + request.params.at(1));
    return session::CancelQueued{RunId(request.params.at(1))};
}

asio::awaitable<http::Response> operate(
    const Services& services, http::Request& request, ReadCommand read
) {
    auto mutation = mutation_of(request);
    const auto session = session_of(request);
    auto command = read(request);
    const auto answer =
        co_await services.sessions.operate(session, std::move(command), std::move(mutation));
    co_return accepted({{"seq", answer.seq}});
}

}  // namespace

void Api::add_session_routes() {
    const auto all = [this](http::Request& request) { return list(services_, request); };
    router_.add("GET", "/api/v1/sessions", http::AsyncHandler(all), about("newest activity first"));
    const auto one = [this](http::Request& request) { return show(services_, request); };
    router_.add("GET", "/api/v1/sessions/{id}", http::AsyncHandler(one), about("its whole state"));
    const auto page = [this](http::Request& request) { return events(services_, request); };
    router_.add(
        "GET", "/api/v1/sessions/{id}/events", http::AsyncHandler(page), about("a page of its log")
    );
}

void Api::add_control_routes() {
    const auto act =
        [this](std::string method, std::string path, ReadCommand read, std::string what) {
            const auto handle = [this, read](http::Request& request) {
                return operate(services_, request, read);
            };
            router_.add(
                std::move(method), "/api/v1/sessions/{id}" + path, http::AsyncHandler(handle),
                about(std::move(what))
            );
        };
    act("POST", "/hold", read_hold, "admit no new step");
    act("POST", "/resume", read_resume, "go on");
    act("POST", "/stop", read_stop, "end the run and everything below it");
    act("PATCH", "/plan/entries/{entry}", read_edit, "edit the plan of a held run");
    act("DELETE", "/queue/{run}", read_cancel, "cancel a queued message");
}

}  // namespace volary::api
