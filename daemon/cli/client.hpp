// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/json.hpp"
#include "base/unique_fd.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace volary::http {
class Client;
class Socket;
}  // namespace volary::http

namespace volary::cli {

/// What every verb needs to know.
struct Context {
    std::string socket;  ///< path of the operator socket
    bool json = false;   ///< print what the API answered, one JSON value
};

/// The API over the operator socket. An error answer becomes the Error that it carries, so that
/// exit codes and messages are those of the daemon.
class Client {
public:
    Client(const asio::any_io_executor& executor, const Context& context);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    asio::awaitable<Json> get(std::string path);
    /// An answer that is no JSON.
    asio::awaitable<std::string> text(std::string path);
    /// Each piece of an answer's body as it comes; returns when all of it has come.
    asio::awaitable<void> download(std::string path, std::function<void(std::string_view)> piece);
    /// Sends one act whose body is no JSON.
    asio::awaitable<Json> upload(std::string path, std::string content_type, std::string body);
    /// Sends one act under an Idempotency-Key of its own.
    asio::awaitable<Json> act(std::string method, std::string path, Json body);

    /// Opens the stream and subscribes to `session` from `after`.
    asio::awaitable<std::shared_ptr<http::Socket>> follow(std::string session, std::int64_t after);

    /// An upgrade to plain bytes: the connection, and what came behind the answer.
    struct Opened {
        UniqueFd connection;
        std::string first;
    };
    asio::awaitable<Opened> tunnel(std::string path);

private:
    std::string socket_;
    std::unique_ptr<http::Client> http_;
};

/// Runs one verb to its end on a loop of its own; an Error is printed and becomes its exit code.
int run(const std::function<asio::awaitable<int>(asio::any_io_executor)>& verb);

/// Puts an answer in words, for people.
using Words = void (*)(const Json& answer);

/// GET `path`, printed by `words`, or as it is for --json.
int show(const Context& context, const std::string& path, Words words);
/// One act, printed the same way.
int act(
    const Context& context, const std::string& method, const std::string& path, const Json& body,
    Words words
);

/// Prints an error as every verb does: one line, then one line per detail.
int report(const std::exception& error);

void print_json(const Json& doc);
void print_line(const std::string& line);

/// `text` percent-encoded for one path segment (RFC 3986, 2.1).
std::string path_segment(const std::string& text);
/// "/api/v1/sessions/ID"
std::string session_path(const std::string& session);

}  // namespace volary::cli
