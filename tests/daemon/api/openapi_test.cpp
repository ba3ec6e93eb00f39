// SPDX-License-Identifier: Apache-2.0
#include "daemon/api/openapi.hpp"

#include "base/json.hpp"
#include "tests/daemon/api/bench.hpp"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::api;

namespace {

/// The whole table as this room fills it.
struct Table {
    Bench bench;
    http::Router router;
    Api api{bench.services(), router};
    Json document = Json::parse(openapi_document(router.routes()));
};

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    return text;
}

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE_METHOD(Table, "every route of the table is described", "[api]") {
    const auto routes = router.routes();
    CHECK(routes.size() > 15);
    std::size_t operations = 0;
    for (const auto& path : document["paths"]) operations += path.size();
    CHECK(operations == routes.size());
    for (const auto& route : routes) {
        CAPTURE(route.method, route.pattern);
        const auto& operation = document["paths"][route.pattern][lower(route.method)];
        REQUIRE(operation.is_object());
        CHECK_FALSE(string_or(operation, "summary").empty());
        CHECK(operation["responses"].contains("default"));
        const auto braces = std::count(route.pattern.begin(), route.pattern.end(), '{');
        const auto& parameters = operation["parameters"];
        CHECK(braces == std::count_if(parameters.begin(), parameters.end(), [](const Json& p) {
                  return p["in"] == "path";
              }));
    }
}

TEST_CASE_METHOD(Table, "each operation has an id of its own", "[api]") {
    std::set<std::string> ids;
    for (const auto& path : document["paths"])
        for (const auto& operation : path) {
            const auto id = operation["operationId"].get<std::string>();
            CAPTURE(id);
            CHECK(ids.insert(id).second);
        }
}

TEST_CASE_METHOD(Table, "the four open routes need no sign-in, all others do", "[api]") {
    std::set<std::string> open;
    for (const auto& [path, operations] : document["paths"].items())
        for (const auto& operation : operations)
            if (operation.contains("security")) open.insert(path);
    CHECK(
        open ==
        std::set<std::string>{
            "/api/v1/healthz", "/api/v1/openapi.json", "/api/v1/readyz", "/api/v1/version"
        }
    );
    CHECK_FALSE(document["security"].empty());
}

TEST_CASE_METHOD(Table, "the document is the one that was agreed on", "[api]") {
    const std::string path = VOLARY_GOLDEN "/openapi.json";
    // The version changes with every release; the shape must not.
    document["info"]["version"] = "VERSION";
    const auto text = document.dump(2) + "\n";
    if (std::getenv("VOLARY_ACCEPT") != nullptr) std::ofstream(path, std::ios::binary) << text;
    INFO("accept with VOLARY_ACCEPT=1");
    CHECK(read_file(path) == text);
}
