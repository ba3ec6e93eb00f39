// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/ids.hpp"
#include "daemon/model/catalogue.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace volary::http {
struct Request;
struct Response;
}  // namespace volary::http

namespace volary::model {

/// Who asks; known from the socket that the request arrived on, never from the request.
struct Caller {
    SessionId session;
    InvocationId invocation;
    std::string agent;                 ///< path in the tree, e.g. "primary/scraper"
    std::vector<std::string> aliases;  ///< what this agent may use
};

/// A call that is about to be made.
struct Call {
    std::string alias;
    std::int64_t max_tokens = 0;    ///< 0: the request did not say
    std::size_t request_bytes = 0;  ///< of the body
};

/// One finished (or broken off) model call.
struct Usage {
    std::string alias;
    std::int64_t input_tokens = 0;
    std::int64_t output_tokens = 0;
    std::chrono::milliseconds duration{0};
    std::chrono::milliseconds first_token{0};  ///< 0 when there was none
    std::string stop_reason;  ///< "end_turn", "tool_use", ...; empty when it was broken off
};

struct BrokerHooks {
    /// Called after every call that reached a provider; may be empty.
    std::function<void(Caller, Usage)> on_usage;
    /// Awaited before a provider is asked: holds and budgets delay here, or refuse by throwing
    /// Error (its message reaches the agent in the provider's own error shape). May be empty.
    std::function<asio::awaitable<void>(Caller, Call)> admit;
};

/// The model side of every cage: the server behind `models.volary.internal`.
///
/// Routes: `POST /anthropic/v1/messages` (Anthropic Messages, streamed or not) and
/// `GET /anthropic/v1/models`. What it refuses, it refuses in the dialect's own error shape, so
/// that CLIs show it well. Inbound credentials and cookies are dropped. Lives on one thread;
/// must outlive the streams of the responses that it gave.
class Broker {
public:
    Broker(Catalogue catalogue, BrokerHooks hooks);
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;
    ~Broker();

    /// Never throws but for cancellation: every failure is an answer.
    asio::awaitable<http::Response> handle(http::Request request, Caller caller);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace volary::model
