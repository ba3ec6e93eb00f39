// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/http_model_client.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "daemon/agent/builtin/http_url.hpp"
#include "daemon/http/client.hpp"

#include <exception>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

/// A provider under load starts late, and a held call waits in the broker.
constexpr std::chrono::minutes kAnswerDeadline{30};
/// Between two pieces of a stream; providers send pings.
constexpr std::chrono::minutes kBodyDeadline{5};
constexpr std::size_t kMaxErrorText = 500;

http::ClientOptions client_options() {
    http::ClientOptions options;
    options.answer_deadline = kAnswerDeadline;
    options.body_deadline = kBodyDeadline;
    return options;
}

Errc errc_of(int status) {
    constexpr int kTooManyRequests = 429;
    constexpr int kForbidden = 403;
    constexpr int kServerErrors = 500;
    if (status == kTooManyRequests) return Errc::busy;
    if (status == kForbidden) return Errc::denied;
    return status >= kServerErrors ? Errc::unavailable : Errc::invalid;
}

/// The provider's own words: {"error":{"type","message"}}, or the start of the body.
Error provider_error(const http::Response& response) {
    const auto body = response.payload();
    std::string said(utf8_prefix(body, kMaxErrorText));
    if (const auto doc = parse_json(body); doc && doc->is_object()) {
        const auto error = doc->find("error");
        if (error != doc->end() && error->is_object())
            said = fmt::format("{}: {}", string_or(*error, "type"), string_or(*error, "message"));
    }
    return Error(
        errc_of(response.status), fmt::format("the model answered {}: {}", response.status, said)
    );
}

}  // namespace

struct HttpModelClient::Impl {
    Impl(const asio::any_io_executor& executor, const HttpUrl& url)
        : target(url.path == "/" ? "/v1/messages" : url.path + "/v1/messages"),
          client(executor, http::Endpoint::parse(url.origin), client_options()) {}

    std::string target;
    http::Client client;
};

HttpModelClient::HttpModelClient(asio::any_io_executor executor, const std::string& url)
    : impl_(std::make_unique<Impl>(executor, HttpUrl::parse(url))) {}

HttpModelClient::~HttpModelClient() = default;

asio::awaitable<ModelAnswer> HttpModelClient::ask(std::string request, OnDelta on_delta) {
    http::ClientRequest post;
    post.method = "POST";
    post.target = impl_->target;
    post.headers.add("content-type", "application/json");
    post.headers.add("accept", "text/event-stream");
    post.headers.add("anthropic-version", "2023-06-01");
    post.body = std::move(request);
    SseParser parser;
    MessageStream stream;
    std::exception_ptr failure;
    // Nothing may be thrown through the client: a failure ends the request and waits here.
    http::OnBody on_body = [&](std::string_view piece) {
        try {
            for (const auto& event : parser.feed(piece))
                for (const auto& delta : stream.feed(event)) on_delta(delta);
            return true;
        } catch (...) {
            failure = std::current_exception();
            return false;
        }
    };
    constexpr int kOk = 200;
    http::Response response;
    try {
        auto answered = co_await impl_->client.request(std::move(post), std::move(on_body));
        response = std::move(answered);
    } catch (const Error& error) {
        // Ending the request early is an error of the client, too; ours says why.
        if (!failure) throw Interrupted(error.what());
    } catch (...) {
        impl_->client.close();
        throw;
    }
    if (failure) std::rethrow_exception(failure);
    if (response.status != kOk) throw provider_error(response);
    co_return stream.finish();
}

}  // namespace volary::builtin
