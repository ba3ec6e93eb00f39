// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/agent/builtin/clients.hpp"

#include <memory>
#include <string>

namespace volary::builtin {

/// Speaks the Messages dialect to `<url>/v1/messages`, e.g.
/// "http://models.volary.internal/anthropic". Sends no credentials: the broker knows who asks.
class HttpModelClient final : public ModelClient {
public:
    /// Throws Error{invalid} when `url` is no http address.
    HttpModelClient(asio::any_io_executor executor, const std::string& url);
    ~HttpModelClient() override;

    asio::awaitable<ModelAnswer> ask(std::string request, OnDelta on_delta) override;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace volary::builtin
