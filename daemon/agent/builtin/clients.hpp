// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/asio.hpp"
#include "base/error.hpp"
#include "base/json.hpp"
#include "daemon/acp/types.hpp"
#include "daemon/agent/builtin/message_stream.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

/// What a turn needs of the world, as interfaces that tests fake.
namespace volary::builtin {

/// The wire to a server broke before its answer was whole: asked again, it may well answer.
class Interrupted : public Error {
public:
    explicit Interrupted(const std::string& what) : Error(Errc::unavailable, what) {}
};

struct ToolSpec {
    std::string name;
    std::string title;
    std::string description;
    std::string kind = "other";          ///< ACP tool kind
    std::shared_ptr<const Json> schema;  ///< JSON Schema of the input
};

struct ToolOutcome {
    bool ok = true;
    std::string text;
};

/// Hears output of a tool that still runs.
using OnOutput = std::function<void(std::string_view)>;

class ToolClient {
public:
    virtual ~ToolClient() = default;
    /// Throws Error when the tools cannot be told.
    virtual asio::awaitable<std::vector<ToolSpec>> list() = 0;
    /// A tool that fails answers so; Error is for a server that cannot be reached.
    /// Cancelling the caller ends what the tool runs.
    virtual asio::awaitable<ToolOutcome> call(
        std::string name, std::string input, OnOutput on_output
    ) = 0;
};

using OnDelta = std::function<void(const Delta&)>;

class ModelClient {
public:
    virtual ~ModelClient() = default;
    /// `request` is a whole Messages request with "stream": true. Throws Error with what the
    /// provider said, Interrupted when it could not end.
    virtual asio::awaitable<ModelAnswer> ask(std::string request, OnDelta on_delta) = 0;
};

/// The one whom the turn asks and tells: the ACP client.
class TurnHost {
public:
    virtual ~TurnHost() = default;
    /// Returns when the step is admitted or refused; a hold delays it for as long as it lasts.
    virtual asio::awaitable<acp::StepDecision> ask_step(acp::Step step) = 0;
    // These do not wait: they are called where a stream arrives, and when a turn is cancelled.
    virtual void step_ended(acp::StepEnd end) = 0;
    virtual void update(acp::Update update) = 0;
};

}  // namespace volary::builtin
