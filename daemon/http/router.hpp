// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "daemon/http/types.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace volary::http {

class Socket;

/// A message with an attachment fits; a route that takes more says so.
inline constexpr std::size_t kDefaultMaxBody = std::size_t{1} << 20U;

/// Whether a route asks for a signed-in operator; the guard reads it.
enum class RouteAccess {
    signed_in,
    open,
    /// The path holds an unguessable token that the handler judges. Requests of a page without an
    /// origin of its own (`Origin: null`) pass, and a change needs no header of ours.
    capability
};

/// Who reads the body of a request.
enum class BodyReading {
    whole,  ///< the server, before the handler
    left    ///< nobody yet: the handler only sees the head, and may answer with an upstream
};

struct RouteOptions {
    std::size_t max_body = kDefaultMaxBody;  ///< bytes; more is answered with 413
    RouteAccess access = RouteAccess::signed_in;
    std::string summary;  ///< one line for the OpenAPI document
    BodyReading body = BodyReading::whole;
};

/// One entry of the route table, as the OpenAPI document and the guard see it.
struct RouteInfo {
    std::string method;   ///< "GET"; a WebSocket route is a GET
    std::string pattern;  ///< "/api/v1/sessions/{id}"
    RouteOptions options;
    bool websocket = false;
};

/// A handler that answers at once: no coroutine frame, for what needs no wait.
using SyncHandler = std::function<Response(Request&)>;
/// A handler that waits. The request lives until the returned awaitable has ended.
using AsyncHandler = std::function<asio::awaitable<Response>(Request&)>;
/// Runs for the life of one WebSocket; when it ends, the socket is closed with 1000.
using SocketHandler = std::function<asio::awaitable<void>(std::shared_ptr<Socket>, Request&)>;

/// A file of the web page. All views are into memory that lives as long as the program.
struct StaticFile {
    std::string_view content_type;   ///< "text/html; charset=utf-8"
    std::string_view bytes;          ///< plain bytes; may be empty when `gzip` is set
    std::string_view gzip;           ///< the same, gzip'ed; may be empty
    std::string_view etag;           ///< with its quotes: "\"3f2a\""
    std::string_view cache_control;  ///< empty: "no-cache"
};

/// Finds the file for a path ("/", "/assets/app.js"); percent-decoded, without "." and "..".
using StaticFiles = std::function<std::optional<StaticFile>(std::string_view path)>;

/// What a request will run.
struct RouteMatch {
    enum class Result { found, page, not_found, wrong_method, bad_path };
    Result result = Result::not_found;
    const RouteInfo* info = nullptr;
    const std::variant<SyncHandler, AsyncHandler, SocketHandler>* handler = nullptr;
    std::string allow;  ///< for wrong_method: "GET, HEAD, POST"
};

/// The route table. Filled before the server listens, then only read.
///
///     router.add("GET", "/api/v1/version", [](http::Request&) { return Response::json(...); });
///     router.add("GET", "/api/v1/sessions/{id}", [this](http::Request& r) { return get(r); });
///
/// A lambda that captures must not itself be a coroutine: it calls one and returns the awaitable.
class Router {
public:
    Router();
    ~Router();
    Router(const Router&) = delete;
    Router& operator=(const Router&) = delete;

    /// Placeholders are whole segments: "{name}". Throws Error{internal} for a second handler of
    /// one method and pattern.
    void add(
        std::string method, std::string pattern, SyncHandler handler, RouteOptions options = {}
    );
    void add(
        std::string method, std::string pattern, AsyncHandler handler, RouteOptions options = {}
    );
    void websocket(std::string pattern, SocketHandler handler, RouteOptions options = {});

    /// Every method of every path "PREFIX/TOKEN/...": what is behind the token is another
    /// program's and is not looked at. `params` are the token and the rest with its slash, both as
    /// sent. `prefix` is absolute, without a slash at its end. Not in routes().
    void mount(std::string prefix, AsyncHandler handler, RouteOptions options = {});

    /// GET and HEAD of paths outside /api that no route has.
    void pages(StaticFiles files);

    /// In the order of add().
    std::vector<RouteInfo> routes() const;

    /// Fills request.params and request.route. "/api/x" without a version is "/api/v1/x".
    RouteMatch match(Request& request) const;

    /// The answer for Result::page, with ETag and gzip; 404 when there is no such file.
    Response page(const Request& request) const;

    /// The whole way without a socket, for handlers that answer at once (tests, fuzzing):
    /// match, then the sync handler or the error that the server would send.
    Response answer(Request& request) const;

private:
    struct Node;
    struct Route;
    void insert(Route route);
    const Route* find_mount(Request& request) const;

    std::unique_ptr<Node> root_;
    std::vector<std::unique_ptr<Route>> routes_;
    std::vector<std::unique_ptr<Route>> mounts_;
    StaticFiles files_;
};

/// The path of a request for the log: without the token that a capability's path holds.
std::string loggable_path(const Request& request);

/// The error answer for anything but found and page.
Response refusal(const RouteMatch& match, const Request& request);

/// Runs `fail` through the error shape: Error as it is, anything else as "internal error" (logged).
Response answer_for(const std::exception_ptr& failure, const Request& request);

}  // namespace volary::http
