// SPDX-License-Identifier: Apache-2.0
#include "daemon/cli/client.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "daemon/http/client.hpp"
#include "daemon/http/socket.hpp"

#include <cstdio>
#include <unordered_map>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

Errc code_from(const std::string& word) {
    static const std::unordered_map<std::string, Errc> codes = {
        {"invalid", Errc::invalid},         {"not_found", Errc::not_found},
        {"conflict", Errc::conflict},       {"denied", Errc::denied},
        {"too_large", Errc::too_large},     {"busy", Errc::busy},
        {"timeout", Errc::timeout},         {"io", Errc::io},
        {"unavailable", Errc::unavailable},
    };
    const auto found = codes.find(word);
    return found == codes.end() ? Errc::internal : found->second;
}

[[noreturn]] void throw_answer(int status, const Json& doc) {
    const auto error = doc.is_object() ? doc.value("error", Json::object()) : Json::object();
    Error out(
        code_from(string_or(error, "code")),
        string_or(error, "message", fmt::format("the daemon answered {}", status))
    );
    std::vector<std::string> details;
    for (const auto& detail : error.value("details", Json::array())) {
        if (detail.is_string()) details.push_back(detail.get<std::string>());
    }
    throw out.with_details(std::move(details));
}

Json answer_of(const http::Response& response) {
    // Pages of a log are larger than what clients may send.
    const JsonLimits limits{std::size_t{64} << 20U, 128};
    auto parsed = parse_json(response.payload(), limits);
    if (!parsed) throw Error(Errc::internal, "the daemon's answer is no JSON: " + parsed.error());
    if (response.status >= 400) throw_answer(response.status, *parsed);
    return std::move(*parsed);
}

http::ClientOptions options() {
    http::ClientOptions out;
    out.headers.add("X-Volary-Client", "cli");
    return out;
}

}  // namespace

Client::Client(const asio::any_io_executor& executor, const Context& context)
    : socket_(context.socket),
      http_(std::make_unique<http::Client>(
          executor, http::Endpoint::unix_socket(context.socket), options()
      )) {}

Client::~Client() = default;

asio::awaitable<Json> Client::get(std::string path) {
    http::ClientRequest request;
    request.target = std::move(path);
    const auto response = co_await http_->request(std::move(request));
    co_return answer_of(response);
}

asio::awaitable<std::string> Client::text(std::string path) {
    http::ClientRequest request;
    request.target = std::move(path);
    const auto response = co_await http_->request(std::move(request));
    if (response.status >= 400) answer_of(response);
    co_return std::string(response.payload());
}

asio::awaitable<void> Client::download(
    std::string path, std::function<void(std::string_view)> piece
) {
    http::ClientRequest request;
    request.target = std::move(path);
    const auto take = [&](std::string_view bytes) {
        piece(bytes);
        return true;
    };
    const auto response = co_await http_->request(std::move(request), take);
    if (response.status >= 400) answer_of(response);
}

namespace {

http::ClientRequest act_request(
    std::string method, std::string path, std::string content_type, std::string body
) {
    http::ClientRequest request;
    request.method = std::move(method);
    request.target = std::move(path);
    request.headers.add("Content-Type", content_type);
    request.headers.add("Idempotency-Key", random_token(16));
    request.body = std::move(body);
    return request;
}

}  // namespace

asio::awaitable<Json> Client::upload(std::string path, std::string content_type, std::string body) {
    auto request = act_request("POST", std::move(path), std::move(content_type), std::move(body));
    const auto response = co_await http_->request(std::move(request));
    co_return answer_of(response);
}

asio::awaitable<Json> Client::act(std::string method, std::string path, Json body) {
    auto request =
        act_request(std::move(method), std::move(path), "application/json", dump_json(body));
    const auto response = co_await http_->request(std::move(request));
    co_return answer_of(response);
}

asio::awaitable<std::shared_ptr<http::Socket>> Client::follow(
    std::string session, std::int64_t after
) {
    auto socket = co_await http_->websocket("/api/v1/stream");
    const Json subscribe = {{"subscribe", {{"session", session}, {"after", after}}}};
    socket->send(dump_json(subscribe));
    co_return socket;
}

asio::awaitable<Client::Opened> Client::tunnel(std::string path) {
    auto opened = co_await http_->tunnel(std::move(path), "volary-bytes");
    if (!opened.connection) {
        (void)answer_of(opened.answer);
        throw Error(Errc::internal, "the daemon did not switch to bytes");
    }
    co_return Opened{std::move(opened.connection), std::move(opened.first)};
}

int run(const std::function<asio::awaitable<int>(asio::any_io_executor)>& verb) {
    asio::io_context loop(1);
    int code = 1;
    std::exception_ptr failure;
    const auto ended = [&](const std::exception_ptr& error, int result) {
        failure = error;
        code = result;
        loop.stop();
    };
    asio::co_spawn(loop, verb(loop.get_executor()), ended);
    loop.run();
    if (!failure) return code;
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& error) {
        return report(error);
    }
}

namespace {

void print(const Context& context, const Json& answer, Words words) {
    if (context.json)
        print_json(answer);
    else
        words(answer);
}

asio::awaitable<int> do_show(
    asio::any_io_executor executor, const Context& context, std::string path, Words words
) {
    Client client(executor, context);
    const auto answer = co_await client.get(std::move(path));
    print(context, answer, words);
    co_return 0;
}

asio::awaitable<int> do_act(
    asio::any_io_executor executor, const Context& context, std::string method, std::string path,
    Json body, Words words
) {
    Client client(executor, context);
    const auto answer = co_await client.act(std::move(method), std::move(path), std::move(body));
    print(context, answer, words);
    co_return 0;
}

}  // namespace

int show(const Context& context, const std::string& path, Words words) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_show(std::move(executor), context, path, words);
    };
    return run(verb);
}

int act(
    const Context& context, const std::string& method, const std::string& path, const Json& body,
    Words words
) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_act(std::move(executor), context, method, path, body, words);
    };
    return run(verb);
}

int report(const std::exception& error) {
    fmt::print(stderr, "volary: {}\n", error.what());
    const auto* ours = dynamic_cast<const Error*>(&error);
    if (ours == nullptr) return 1;
    for (const auto& detail : ours->details()) {
        if (detail != ours->message()) fmt::print(stderr, "  {}\n", detail);
    }
    return exit_code(ours->code());
}

void print_json(const Json& doc) { print_line(dump_json(doc)); }

void print_line(const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
}

std::string path_segment(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            out.push_back(c);
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

std::string session_path(const std::string& session) {
    return "/api/v1/sessions/" + path_segment(session);
}

}  // namespace volary::cli
