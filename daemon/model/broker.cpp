// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/broker.hpp"

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/json.hpp"
#include "base/task_scope.hpp"
#include "daemon/http/types.hpp"
#include "daemon/model/anthropic.hpp"
#include "daemon/model/replay.hpp"
#include "daemon/model/script.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::model {
namespace {

using Steady = std::chrono::steady_clock;

constexpr int kOk = 200;
/// The provider's own bound of a request (https://docs.anthropic.com/en/api/errors).
constexpr JsonLimits kRequestLimits{std::size_t{32} << 20U, 128};

http::Response refuse(int status, std::string_view type, std::string_view message) {
    return http::Response::json(status, anthropic::error_json(type, message));
}

http::Response refuse(int status, std::string_view message) {
    return refuse(status, anthropic::error_type(status), message);
}

/// What of a request decides what happens with it.
struct Asked {
    Json body;
    Call call;
    bool stream = false;
};

Asked parse_request(const std::string& text) {
    auto doc = parse_json(text, kRequestLimits);
    if (!doc)
        throw Error(
            text.size() > kRequestLimits.bytes ? Errc::too_large : Errc::invalid, doc.error()
        );
    if (!doc->is_object()) throw Error(Errc::invalid, "the body is no JSON object");
    Asked asked;
    asked.body = std::move(*doc);
    asked.call.alias = string_or(asked.body, "model");
    asked.call.request_bytes = text.size();
    if (asked.call.alias.empty()) throw Error(Errc::invalid, "model: required string");
    const auto max = asked.body.find("max_tokens");
    if (max != asked.body.end() && max->is_number_integer())
        asked.call.max_tokens = max->get<std::int64_t>();
    const auto stream = asked.body.find("stream");
    asked.stream = stream != asked.body.end() && stream->is_boolean() && stream->get<bool>();
    return asked;
}

/// One answer on its way; owned by the response that streams it.
struct Play {
    std::vector<anthropic::Frame> frames;
    std::chrono::milliseconds delay{0};
    std::chrono::milliseconds first_delay{0};
    std::string stop_reason;
    Steady::time_point started;
    Caller caller;
    Usage usage;
    std::function<void(Caller, Usage)> on_usage;
};

/// Reports the usage however the stream ends, cancellation included.
class UsageReport {
public:
    explicit UsageReport(Play& play) : play_(play) {}
    UsageReport(const UsageReport&) = delete;
    UsageReport& operator=(const UsageReport&) = delete;
    ~UsageReport() {
        if (!play_.on_usage) return;
        play_.usage.duration =
            std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - play_.started);
        try {
            play_.on_usage(play_.caller, play_.usage);
        } catch (...) {
            // The hook only counts; a stream must not fail for it, and a destructor cannot.
            (void)0;
        }
    }

private:
    Play& play_;
};

asio::awaitable<void> wait(std::chrono::milliseconds duration) {
    if (duration.count() <= 0) co_return;
    asio::steady_timer timer(co_await asio::this_coro::executor, duration);
    co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> play_stream(std::shared_ptr<Play> play, http::BodyWriter* writer) {
    const UsageReport report(*play);
    std::string bytes;
    for (const auto& frame : play->frames) {
        if (frame.delta) {
            if (!bytes.empty()) {
                const bool sent = co_await writer->write(std::exchange(bytes, {}));
                if (!sent) co_return;
            }
            const bool first = play->usage.first_token.count() == 0;
            co_await wait(first ? play->delay + play->first_delay : play->delay);
            if (first)
                play->usage.first_token = std::max(
                    std::chrono::milliseconds(1),
                    std::chrono::duration_cast<std::chrono::milliseconds>(
                        Steady::now() - play->started
                    )
                );
        }
        bytes += frame.bytes;
        play->usage.output_tokens = frame.output_tokens;
    }
    const bool sent = co_await writer->write(std::move(bytes));
    if (sent) play->usage.stop_reason = play->stop_reason;
}

http::Response streamed(std::shared_ptr<Play> play) {
    http::Response response;
    response.media = http::Media::event_stream;
    response.headers.add("cache-control", "no-cache");
    response.stream = [play = std::move(play)](http::BodyWriter& writer) {
        return play_stream(play, &writer);
    };
    return response;
}

}  // namespace

class Broker::Impl {
public:
    Impl(Catalogue catalogue, BrokerHooks hooks)
        : catalogue_(std::move(catalogue)), hooks_(std::move(hooks)) {}

    asio::awaitable<http::Response> messages(http::Request request, Caller caller);
    http::Response models(const Caller& caller) const;

private:
    const Target& resolve(const Caller& caller, const std::string& alias) const;
    http::Response replay(Asked asked, const Target& target, Caller caller) const;

    Catalogue catalogue_;
    BrokerHooks hooks_;
    SystemClock clock_;
};

const Target& Broker::Impl::resolve(const Caller& caller, const std::string& alias) const {
    const auto& allowed = caller.aliases;
    if (std::find(allowed.begin(), allowed.end(), alias) == allowed.end())
        throw Error(
            Errc::denied, fmt::format(
                              "agent {} may not use the model \"{}\"; it may use: {}", caller.agent,
                              alias, fmt::join(allowed, ", ")
                          )
        );
    const auto* target = catalogue_.find(alias);
    if (target == nullptr)
        throw Error(
            Errc::not_found, fmt::format("no model is configured for the alias \"{}\"", alias)
        );
    return *target;
}

http::Response Broker::Impl::replay(Asked asked, const Target& target, Caller caller) const {
    const auto script = load_script(target.script);
    const auto transcript = read_transcript(asked.body);
    const auto& reply = choose_reply(script, transcript);
    if (reply.error)
        return refuse(
            anthropic::error_status(reply.error->type).value_or(http_status(Errc::internal)),
            reply.error->type, reply.error->message
        );
    auto id = "msg_" + make_ulid(clock_.now_ms());
    const auto answer = make_answer(script, reply, transcript, std::move(id), asked.call.alias);
    auto play = std::make_shared<Play>();
    play->started = Steady::now();
    play->delay = reply.delay;
    play->first_delay = reply.first_delay;
    play->stop_reason = answer.stop_reason;
    play->caller = std::move(caller);
    play->usage.alias = asked.call.alias;
    play->usage.input_tokens = answer.input_tokens;
    play->on_usage = hooks_.on_usage;
    if (asked.stream) {
        play->frames = anthropic::stream_frames(answer);
        return streamed(std::move(play));
    }
    const UsageReport report(*play);
    play->usage.output_tokens = answer.output_tokens;
    play->usage.stop_reason = answer.stop_reason;
    return http::Response::json(kOk, anthropic::message_json(answer));
}

asio::awaitable<http::Response> Broker::Impl::messages(http::Request request, Caller caller) {
    auto asked = parse_request(request.body);
    const auto& target = resolve(caller, asked.call.alias);
    if (hooks_.admit) {
        const auto call = asked.call;
        co_await hooks_.admit(caller, call);
    }
    co_return replay(std::move(asked), target, std::move(caller));
}

http::Response Broker::Impl::models(const Caller& caller) const {
    auto data = Json::array();
    for (const auto& alias : caller.aliases)
        if (catalogue_.find(alias) != nullptr)
            data.push_back({{"type", "model"}, {"id", alias}, {"display_name", alias}});
    const Json list = {{"data", data}, {"has_more", false}};
    return http::Response::json(kOk, dump_json(list));
}

Broker::Broker(Catalogue catalogue, BrokerHooks hooks)
    : impl_(std::make_unique<Impl>(std::move(catalogue), std::move(hooks))) {}

Broker::~Broker() = default;

asio::awaitable<http::Response> Broker::handle(http::Request request, Caller caller) {
    constexpr int kNotFound = 404;
    constexpr int kWrongMethod = 405;
    const auto path = request.path;
    const bool messages = path == "/anthropic/v1/messages";
    if (!messages && path != "/anthropic/v1/models")
        co_return refuse(kNotFound, fmt::format("no such path: {}", path));
    if (request.method != (messages ? "POST" : "GET"))
        co_return refuse(kWrongMethod, fmt::format("{} takes no {}", path, request.method));
    if (!messages) co_return impl_->models(caller);
    try {
        co_return co_await impl_->messages(std::move(request), std::move(caller));
    } catch (const Error& e) {
        co_return refuse(http_status(e.code()), e.what());
    } catch (...) {
        const auto error = std::current_exception();
        if (is_cancellation(error)) throw;
        co_return refuse(http_status(Errc::internal), describe(error));
    }
}

}  // namespace volary::model
