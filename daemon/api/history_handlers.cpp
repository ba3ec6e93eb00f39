// SPDX-License-Identifier: Apache-2.0
// Whole sessions and the whole database: verified, exported, imported, backed up.
#include "base/clock.hpp"
#include "base/error.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/session/import.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/store/store.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

constexpr std::int64_t kPage = 1000;
/// A session of some 100,000 events; it is held in memory while it is read.
constexpr std::size_t kMaxImport = std::size_t{256} << 20U;
constexpr std::int64_t kKeptBackups = 7;

asio::awaitable<http::Response> verify(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    const auto verdict = co_await services.sessions.verify(session);
    const Json doc = {
        {"session", session.str()},
        {"ok", verdict.problem.empty()},
        {"events", verdict.events},
        {"head", verdict.head},
        {"problem", verdict.problem.empty() ? Json() : Json(verdict.problem)}
    };
    co_return json_answer(200, doc);
}

/// Sends the events of one session up to `last`, so that a log that grows meanwhile ends where the
/// first line says.
asio::awaitable<void> send_export(
    store::Store* store, SessionId session, std::string header, std::int64_t last,
    http::BodyWriter* out
) {
    if (!co_await out->write(std::move(header))) co_return;
    for (std::int64_t after = 0; after < last;) {
        auto lines = co_await store->export_lines(session, after, std::min(kPage, last - after));
        after += std::count(lines.begin(), lines.end(), '\n');
        if (lines.empty() || !co_await out->write(std::move(lines))) co_return;
    }
}

asio::awaitable<http::Response> export_one(const Services& services, http::Request& request) {
    const auto session = session_of(request);
    const auto row = co_await services.store.find_session(session);
    if (!row) throw Error(Errc::not_found, "no session " + session.str());
    const auto chain = co_await services.store.verify(session);
    if (!chain.problem.empty())
        throw Error(Errc::unavailable, "the log is not what was written: " + chain.problem);
    auto header = session::export_header(session, row->project, chain.events, chain.head) + "\n";
    http::Response response;
    response.headers.add("Content-Type", "application/x-ndjson");
    response.headers.add(
        "Content-Disposition", fmt::format("attachment; filename=\"{}.ndjson\"", session.str())
    );
    response.stream = [store = &services.store, session, header = std::move(header),
                       last = chain.events](http::BodyWriter& out) {
        return send_export(store, session, header, last, &out);
    };
    co_return response;
}

asio::awaitable<http::Response> import_one(const Services& services, http::Request& request) {
    auto mutation = mutation_of(request);
    // The body itself is large; the hash of its last event tells two exports of a session apart.
    auto what = session::parse_export(request.body);
    mutation.request = what.session.str() + " " + what.head;
    const auto answer = co_await services.sessions.import(std::move(what), std::move(mutation));
    co_return accepted({{"session", answer.session.str()}, {"seq", answer.seq}});
}

Json backup_json(const store::BackupFile& file) {
    return {{"name", file.name}, {"path", file.path}, {"bytes", file.bytes}, {"at", file.at}};
}

asio::awaitable<http::Response> back_up(const Services& services, http::Request& request) {
    const auto doc = body_of(request);
    Fields fields(doc, "body");
    const auto keep = fields.optional_integer("keep").value_or(kKeptBackups);
    if (keep < 1 || keep > 1000) fields.problem("keep", "must be from 1 to 1000");
    fields.done();
    const auto made = co_await services.store.back_up(static_cast<std::size_t>(keep));
    co_return json_answer(201, backup_json(made));
}

asio::awaitable<http::Response> list_backups(const Services& services) {
    Json list = Json::array();
    const auto files = co_await services.store.backups();
    for (const auto& file : files) list.push_back(backup_json(file));
    co_return json_answer(200, {{"backups", std::move(list)}});
}

}  // namespace

void Api::add_history_routes() {
    const auto check = [this](http::Request& request) { return verify(services_, request); };
    router_.add(
        "GET", "/api/v1/sessions/{id}/verify", http::AsyncHandler(check),
        about("that nobody changed its log")
    );
    const auto take = [this](http::Request& request) { return export_one(services_, request); };
    router_.add(
        "GET", "/api/v1/sessions/{id}/export", http::AsyncHandler(take),
        about("the whole session as a file")
    );
    auto options = about("take over an exported session");
    options.max_body = kMaxImport;
    const auto put = [this](http::Request& request) { return import_one(services_, request); };
    router_.add("POST", "/api/v1/sessions/import", http::AsyncHandler(put), options);
    const auto files = [this](http::Request&) { return list_backups(services_); };
    router_.add(
        "GET", "/api/v1/backups", http::AsyncHandler(files), about("of the database, newest first")
    );
    const auto copy = [this](http::Request& request) { return back_up(services_, request); };
    router_.add(
        "POST", "/api/v1/backups", http::AsyncHandler(copy), about("copy the database, verified")
    );
}

}  // namespace volary::api
