// SPDX-License-Identifier: Apache-2.0
#include "daemon/api/openapi.hpp"

#include "base/json.hpp"
#include "daemon/http/router.hpp"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

Json error_schema() {
    const Json text = {{"type", "string"}};
    const Json codes = {"invalid", "not_found", "conflict", "denied",      "too_large",
                        "busy",    "timeout",   "io",       "unavailable", "internal"};
    const Json error = {
        {"type", "object"},
        {"required", {"code", "message", "details"}},
        {"properties",
         {{"code", {{"type", "string"}, {"enum", codes}}},
          {"message", text},
          {"details", {{"type", "array"}, {"items", text}}}}},
    };
    return {{"type", "object"}, {"required", {"error"}}, {"properties", {{"error", error}}}};
}

Json path_parameters(const std::string& pattern) {
    Json out = Json::array();
    for (auto open = pattern.find('{'); open != std::string::npos; open = pattern.find('{', open)) {
        const auto close = pattern.find('}', open);
        const Json schema = {{"type", "string"}};
        out.push_back(
            {{"name", pattern.substr(open + 1, close - open - 1)},
             {"in", "path"},
             {"required", true},
             {"schema", schema}}
        );
        open = close;
    }
    return out;
}

Json header_parameter(std::string_view name, std::string_view about) {
    const Json schema = {{"type", "string"}};
    return {
        {"name", name},
        {"in", "header"},
        {"required", true},
        {"description", about},
        {"schema", schema}
    };
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    return text;
}

std::string operation_id(const http::RouteInfo& route) {
    auto id = lower(route.method);
    for (const char c : route.pattern) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0)
            id.push_back(c);
        else if (!id.ends_with('_'))
            id.push_back('_');
    }
    while (id.ends_with('_')) id.pop_back();
    return id;
}

Json operation(const http::RouteInfo& route) {
    const Json json_content = {{"application/json", {{"schema", {{"type", "object"}}}}}};
    const Json error_ref = {{"$ref", "#/components/schemas/Error"}};
    const Json failed = {
        {"description", "an error"}, {"content", {{"application/json", {{"schema", error_ref}}}}}
    };
    Json out = {
        {"operationId", operation_id(route)},
        {"summary", route.options.summary},
        {"parameters", path_parameters(route.pattern)},
        {"responses", {{"default", failed}}},
    };
    if (route.websocket) {
        out["responses"]["101"] = {{"description", "the stream (docs/api.md)"}};
        return out;
    }
    out["responses"]["2XX"] = {{"description", "done"}, {"content", json_content}};
    if (route.method != "GET") {
        out["parameters"].push_back(header_parameter(
            "X-Volary-Client", "the client's name; proves it is no cross-site form"
        ));
        if (route.method != "DELETE") out["requestBody"] = {{"content", json_content}};
    }
    if (route.options.access == http::RouteAccess::open) out["security"] = Json::array();
    return out;
}

}  // namespace

std::string openapi_document(const std::vector<http::RouteInfo>& routes) {
    Json paths = Json::object();
    for (const auto& route : routes) {
        paths[route.pattern][lower(route.method)] = operation(route);
    }
    const Json cookie = {{"type", "apiKey"}, {"in", "cookie"}, {"name", "volary_session"}};
    const Json doc = {
        {"openapi", "3.1.0"},
        {"info", {{"title", "volary"}, {"version", VOLARY_VERSION}}},
        {"security", Json::array({{{"cookie", Json::array()}}})},
        {"paths", std::move(paths)},
        {"components",
         {{"schemas", {{"Error", error_schema()}}}, {"securitySchemes", {{"cookie", cookie}}}}},
    };
    return doc.dump(2);
}

}  // namespace volary::api
