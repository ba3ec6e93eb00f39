// SPDX-License-Identifier: Apache-2.0
#include "base/json_text.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/agent/examiner.hpp"
#include "daemon/api/openapi.hpp"
#include "daemon/api/request.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/store/store.hpp"

#include <fstream>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

/// Resident set of this process in bytes, from /proc/self/statm (proc(5)); 0 when unreadable.
std::int64_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::int64_t total = 0;
    std::int64_t resident = 0;
    file >> total >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
}

asio::awaitable<http::Response> status(const Services& services) {
    const auto counts = co_await services.store.counts();
    const auto& health = services.store.health();
    const Json database = {
        {"checked_at", health.checked_at == 0 ? Json() : Json(health.checked_at)},
        {"problems", health.problems}
    };
    const Json doc = {
        {"version", VOLARY_VERSION},
        {"database", database},
        {"epoch", services.store.epoch()},
        {"uptime_ms", services.clock.now_ms() - services.started_at},
        {"rss_bytes", resident_bytes()},
        {"projects", counts.projects},
        {"sessions", counts.sessions},
        {"working", counts.unfinished_sessions},
        {"cages", services.agents.live()},
        {"insecure", false},
        {"no_cage", false},
    };
    co_return json_answer(200, doc);
}

asio::awaitable<http::Response> doctor(const Services& services) {
    const auto text = co_await services.examiner.json();
    auto response = http::Response::json(200, {});
    response.shared_body = text;
    co_return response;
}

http::RouteOptions open(std::string summary) {
    http::RouteOptions options;
    options.access = http::RouteAccess::open;
    options.summary = std::move(summary);
    return options;
}

}  // namespace

void Api::add_open_routes() {
    const auto fixed = [](int status, std::string text) {
        const auto body = std::make_shared<const std::string>(std::move(text));
        return http::SyncHandler([status, body](http::Request&) {
            http::Response response = http::Response::json(status, {});
            response.shared_body = body;
            return response;
        });
    };
    router_.add(
        "GET", "/api/v1/healthz", fixed(200, R"({"status":"ok"})"), open("the process answers")
    );
    // Whoever can reach a listener finds a daemon whose log is open: it listens last.
    router_.add(
        "GET", "/api/v1/readyz", fixed(200, R"({"status":"ready"})"), open("it takes messages")
    );
    const Json version = {{"version", VOLARY_VERSION}, {"api", "v1"}};
    router_.add("GET", "/api/v1/version", fixed(200, version.dump()), open("what runs here"));
    const auto document = [this](http::Request&) {
        return http::Response::json(200, openapi_document(router_.routes()));
    };
    router_.add(
        "GET", "/api/v1/openapi.json", http::SyncHandler(document), open("this API, described")
    );
}

void Api::add_status_routes() {
    const auto examine = [this](http::Request&) { return doctor(services_); };
    router_.add(
        "GET", "/api/v1/doctor", http::AsyncHandler(examine),
        about("each layer, proven on this host")
    );
    const auto state = [this](http::Request&) { return status(services_); };
    router_.add("GET", "/api/v1/status", http::AsyncHandler(state), about("how the daemon is"));
}

}  // namespace volary::api
