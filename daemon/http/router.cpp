// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/router.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "daemon/http/target.hpp"

#include <algorithm>
#include <utility>

namespace volary::http {
namespace {

constexpr std::string_view kApi = "api";
constexpr std::string_view kCurrentVersion = "v1";

bool is_placeholder(std::string_view segment) {
    return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

bool is_version(std::string_view segment) {
    return segment.size() > 1 && segment.front() == 'v' &&
           segment.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

/// "/api/sessions" answers as "/api/v1/sessions", so that a person need not type it.
void add_version(Segments& segments) {
    if (segments.count < 2 || segments.count == kMaxSegments || segments.items[0] != kApi) return;
    if (is_version(segments.items[1])) return;
    for (std::size_t i = segments.count; i > 1; --i) segments.items[i] = segments.items[i - 1];
    segments.items[1] = kCurrentVersion;
    ++segments.count;
}

bool is_api(std::string_view path) { return path == "/api" || path.starts_with("/api/"); }

}  // namespace

struct Router::Route {
    RouteInfo info;
    std::variant<SyncHandler, AsyncHandler, SocketHandler> handler;
};

struct Router::Node {
    std::vector<std::pair<std::string, std::unique_ptr<Node>>> children;
    std::unique_ptr<Node> placeholder;
    std::vector<Route*> routes;

    Node* child(std::string_view segment) const {
        for (const auto& [name, node] : children) {
            if (name == segment) return node.get();
        }
        return nullptr;
    }

    Node& ensure_child(std::string_view segment) {
        if (is_placeholder(segment)) {
            if (!placeholder) placeholder = std::make_unique<Node>();
            return *placeholder;
        }
        if (auto* found = child(segment)) return *found;
        return *children.emplace_back(segment, std::make_unique<Node>()).second;
    }

    std::string allow() const {
        std::string out;
        for (const auto* route : routes) {
            if (!out.empty()) out.append(", ");
            out.append(route->info.method);
            if (route->info.method == "GET") out.append(", HEAD");
        }
        return out;
    }
};

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;

void Router::add(
    std::string method, std::string pattern, SyncHandler handler, RouteOptions options
) {
    insert({{std::move(method), std::move(pattern), std::move(options), false}, std::move(handler)}
    );
}

void Router::add(
    std::string method, std::string pattern, AsyncHandler handler, RouteOptions options
) {
    insert({{std::move(method), std::move(pattern), std::move(options), false}, std::move(handler)}
    );
}

void Router::websocket(std::string pattern, SocketHandler handler, RouteOptions options) {
    insert({{"GET", std::move(pattern), std::move(options), true}, std::move(handler)});
}

void Router::mount(std::string prefix, AsyncHandler handler, RouteOptions options) {
    mounts_.push_back(std::make_unique<Route>(
        Route{{"*", std::move(prefix), std::move(options), false}, std::move(handler)}
    ));
}

const Router::Route* Router::find_mount(Request& request) const {
    for (const auto& mount : mounts_) {
        const auto& prefix = mount->info.pattern;
        const std::string_view path = request.path;
        if (!path.starts_with(prefix) || !path.substr(prefix.size()).starts_with('/')) continue;
        const auto rest = path.substr(prefix.size() + 1);
        const auto end = std::min(rest.find('/'), rest.size());
        request.params = {std::string(rest.substr(0, end)), std::string(rest.substr(end))};
        return mount.get();
    }
    return nullptr;
}

void Router::pages(StaticFiles files) { files_ = std::move(files); }

void Router::insert(Route route) {
    const auto segments = split_path(route.info.pattern);
    if (!segments) throw Error(Errc::internal, "malformed route \"" + route.info.pattern + "\"");
    Node* node = root_.get();
    for (std::size_t i = 0; i < segments->count; ++i)
        node = &node->ensure_child(segments->items[i]);
    for (const auto* other : node->routes) {
        if (other->info.method == route.info.method)
            throw Error(
                Errc::internal, "second handler for " + route.info.method + " " + route.info.pattern
            );
    }
    routes_.push_back(std::make_unique<Route>(std::move(route)));
    node->routes.push_back(routes_.back().get());
}

std::vector<RouteInfo> Router::routes() const {
    std::vector<RouteInfo> out;
    out.reserve(routes_.size());
    for (const auto& route : routes_) out.push_back(route->info);
    return out;
}

RouteMatch Router::match(Request& request) const {
    request.params.clear();
    request.route = nullptr;
    RouteMatch match;
    if (const auto* mount = find_mount(request)) {
        match.result = RouteMatch::Result::found;
        match.info = &mount->info;
        match.handler = &mount->handler;
        request.route = &mount->info;
        return match;
    }
    auto segments = split_path(request.path);
    if (!segments) {
        match.result = RouteMatch::Result::bad_path;
        return match;
    }
    add_version(*segments);
    const Node* node = root_.get();
    for (std::size_t i = 0; i < segments->count && node != nullptr; ++i) {
        const auto segment = segments->items[i];
        const Node* next = node->child(segment);
        if (next == nullptr && node->placeholder && !segment.empty()) {
            next = node->placeholder.get();
            // split_path has shown that it decodes.
            request.params.push_back(percent_decode(segment).value_or(std::string()));
        }
        node = next;
    }
    const bool reads = request.method == "GET" || request.method == "HEAD";
    if (node == nullptr || node->routes.empty()) {
        request.params.clear();
        if (!is_api(request.path) && files_) {
            match.result = reads ? RouteMatch::Result::page : RouteMatch::Result::wrong_method;
            if (!reads) match.allow = "GET, HEAD";
        }
        return match;
    }
    using std::string_view_literals::operator""sv;
    const auto method = request.method == "HEAD" ? "GET"sv : std::string_view(request.method);
    for (const auto* route : node->routes) {
        if (route->info.method != method && route->info.method != request.method) continue;
        match.result = RouteMatch::Result::found;
        match.info = &route->info;
        match.handler = &route->handler;
        request.route = &route->info;
        return match;
    }
    match.result = RouteMatch::Result::wrong_method;
    match.allow = node->allow();
    return match;
}

Response Router::page(const Request& request) const {
    const auto path = percent_decode(request.path);
    const auto file = path && files_ ? files_(*path) : std::nullopt;
    if (!file) return Response::error(404, Errc::not_found, "no page \"" + request.path + "\"");
    Response response;
    response.headers.add(
        "Cache-Control", file->cache_control.empty() ? "no-cache" : file->cache_control
    );
    if (!file->etag.empty()) response.headers.add("ETag", file->etag);
    if (!file->gzip.empty()) response.headers.add("Vary", "Accept-Encoding");
    const auto known = request.headers.find("If-None-Match");
    if (known && !file->etag.empty() && has_token(*known, file->etag)) {
        response.status = 304;
        return response;
    }
    if (!file->content_type.empty()) response.headers.add("Content-Type", file->content_type);
    // A client that cannot unpack is so rare that a build may leave the plain bytes out.
    const auto accepted = request.headers.find("Accept-Encoding").value_or("");
    const bool packed =
        !file->gzip.empty() && (file->bytes.empty() || accepted.find("gzip") != accepted.npos);
    if (packed) response.headers.add("Content-Encoding", "gzip");
    response.static_body = packed ? file->gzip : file->bytes;
    return response;
}

Response Router::answer(Request& request) const {
    const auto found = match(request);
    if (found.result == RouteMatch::Result::page) return page(request);
    if (found.result != RouteMatch::Result::found) return refusal(found, request);
    const auto* handler = std::get_if<SyncHandler>(found.handler);
    if (handler == nullptr)
        return Response::error(501, Errc::internal, "this route cannot answer at once");
    try {
        return (*handler)(request);
    } catch (...) {
        return answer_for(std::current_exception(), request);
    }
}

std::string loggable_path(const Request& request) {
    const auto* route = request.route;
    if (route == nullptr || route->options.access != RouteAccess::capability) return request.path;
    return route->pattern + "/...";
}

Response refusal(const RouteMatch& match, const Request& request) {
    if (match.result == RouteMatch::Result::bad_path)
        return Response::error(400, Errc::invalid, "malformed path");
    if (match.result == RouteMatch::Result::wrong_method) {
        auto response = Response::error(
            405, Errc::invalid, request.method + " is not possible here, but " + match.allow
        );
        response.headers.add("Allow", match.allow);
        return response;
    }
    return Response::error(404, Errc::not_found, "no route \"" + request.path + "\"");
}

Response answer_for(const std::exception_ptr& failure, const Request& request) {
    try {
        std::rethrow_exception(failure);
    } catch (const Error& error) {
        if (http_status(error.code()) >= 500)
            log::error(
                "request failed", {{"target", loggable_path(request)}, {"error", error.what()}}
            );
        return Response::error(error);
    } catch (const std::exception& error) {
        log::error("request failed", {{"target", loggable_path(request)}, {"error", error.what()}});
    } catch (...) {
        log::error("request failed", {{"target", loggable_path(request)}, {"error", "unknown"}});
    }
    return Response::error(500, Errc::internal, "internal error");
}

}  // namespace volary::http
