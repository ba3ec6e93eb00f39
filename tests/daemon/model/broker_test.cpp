// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/broker.hpp"

#include "base/json.hpp"
#include "base/mailbox.hpp"
#include "daemon/http/types.hpp"
#include "tests/support/loop.hpp"

#include <optional>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::model;

namespace {

constexpr std::string_view kScript = R"({"version":1,"replies":[
    {"when":{"contains":"broken"},"error":{"type":"overloaded_error","message":"later"}},
    {"when":{"contains":"hello"},"delay_ms":0,"content":[
        {"type":"text","text":"Good day to you."},
        {"type":"tool_use","name":"shell","input":{"command":"ls"}}]}]})";

/// Takes what a response streams; says no from the piece on that it is told.
class KeepingWriter final : public http::BodyWriter {
public:
    explicit KeepingWriter(std::size_t takes = 1000) : takes_(takes) {}

    asio::awaitable<bool> write(std::string bytes) override {
        if (pieces == takes_) co_return false;
        ++pieces;
        text += bytes;
        co_return true;
    }

    std::string text;
    std::size_t pieces = 0;

private:
    std::size_t takes_;
};

struct Fixture {
    test::TempFolder folder;
    test::Loop loop;
    std::vector<std::pair<Caller, Usage>> used;
    BrokerHooks hooks;
    std::optional<Broker> made;

    Fixture() {
        hooks.on_usage = [this](const Caller& caller, const Usage& usage) {
            used.emplace_back(caller, usage);
        };
    }

    Broker& broker() {
        if (!made) {
            Catalogue catalogue;
            catalogue.aliases["smart"] = {Provider::replay, folder.write("smart.json", kScript)};
            made.emplace(std::move(catalogue), hooks);
        }
        return *made;
    }

    static Caller caller() {
        return {SessionId("ses_1"), InvocationId("inv_1"), "primary", {"smart", "missing"}};
    }

    http::Response ask(
        std::string body, std::string path = "/anthropic/v1/messages", std::string method = "POST"
    ) {
        http::Request request;
        request.method = std::move(method);
        request.path = std::move(path);
        request.body = std::move(body);
        return loop.run(broker().handle(std::move(request), caller()));
    }
};

std::string asking(std::string_view text, std::string_view model = "smart", bool stream = false) {
    const Json message = {{"role", "user"}, {"content", text}};
    const Json body = {
        {"model", model}, {"max_tokens", 100}, {"stream", stream}, {"messages", {message}}
    };
    return body.dump();
}

/// The provider's error shape, or a failed check.
Json error_of(const http::Response& response) {
    const auto doc = Json::parse(response.payload());
    CHECK(doc["type"] == "error");
    REQUIRE(doc["error"]["message"].is_string());
    return doc["error"];
}

/// The "data" documents of an event stream, in order.
std::vector<Json> events_of(const std::string& stream) {
    std::vector<Json> out;
    for (std::size_t at = 0; (at = stream.find("data: ", at)) != std::string::npos;) {
        at += std::string_view("data: ").size();
        out.push_back(Json::parse(stream.substr(at, stream.find('\n', at) - at)));
    }
    return out;
}

asio::awaitable<void> wait_open(Notifier* door, const bool* open) {
    while (!*open) co_await door->wait();
}

asio::awaitable<void> refuse_call() {
    throw Error(Errc::busy, "the budget of this hour is used up");
    co_return;
}

asio::awaitable<void> ask_into(
    Broker* broker, std::string body, std::optional<http::Response>* answer
) {
    http::Request request;
    request.method = "POST";
    request.path = "/anthropic/v1/messages";
    request.body = std::move(body);
    auto response = co_await broker->handle(std::move(request), Fixture::caller());
    answer->emplace(std::move(response));
}

}  // namespace

TEST_CASE_METHOD(Fixture, "an alias that the agent may not use is refused", "[model]") {
    const auto response = ask(asking("hello", "expensive"));
    CHECK(response.status == 403);
    const auto error = error_of(response);
    CHECK(error["type"] == "permission_error");
    const auto message = error["message"].get<std::string>();
    CHECK_THAT(message, Catch::Contains("expensive") && Catch::Contains("smart"));
    CHECK(used.empty());
}

TEST_CASE_METHOD(Fixture, "an alias that nobody configured is not found", "[model]") {
    const auto response = ask(asking("hello", "missing"));
    CHECK(response.status == 404);
    CHECK(error_of(response)["type"] == "not_found_error");
}

TEST_CASE_METHOD(Fixture, "a question without stream is answered with one document", "[model]") {
    const auto response = ask(asking("hello"));
    CHECK(response.status == 200);
    CHECK(response.media == http::Media::json);
    const auto doc = Json::parse(response.payload());
    CHECK(doc["type"] == "message");
    CHECK(doc["role"] == "assistant");
    CHECK(doc["stop_reason"] == "tool_use");
    CHECK(doc["content"][0]["text"] == "Good day to you.");
    CHECK(doc["content"][1]["input"]["command"] == "ls");
    CHECK(doc["usage"]["output_tokens"] > 0);
}

TEST_CASE_METHOD(Fixture, "a streamed answer has the provider's events in order", "[model]") {
    auto response = ask(asking("hello", "smart", true));
    CHECK(response.media == http::Media::event_stream);
    REQUIRE(response.stream);
    KeepingWriter writer;
    loop.run(response.stream(writer));
    CHECK(writer.pieces > 1);
    CHECK_THAT(writer.text, Catch::StartsWith("event: message_start\ndata: {"));
    CHECK_THAT(writer.text, Catch::EndsWith("\n\n"));
    std::string text;
    std::string input;
    std::vector<std::string> kinds;
    for (const auto& event : events_of(writer.text)) {
        kinds.push_back(event["type"]);
        if (kinds.back() != "content_block_delta") continue;
        text += string_or(event["delta"], "text");
        input += string_or(event["delta"], "partial_json");
    }
    CHECK(kinds.front() == "message_start");
    CHECK(kinds[kinds.size() - 2] == "message_delta");
    CHECK(kinds.back() == "message_stop");
    CHECK(text == "Good day to you.");
    CHECK(Json::parse(input)["command"] == "ls");
}

TEST_CASE_METHOD(
    Fixture, "a finished stream is counted with its tokens and stop reason", "[model]"
) {
    auto response = ask(asking("hello", "smart", true));
    CHECK(used.empty());
    KeepingWriter writer;
    loop.run(response.stream(writer));
    REQUIRE(used.size() == 1);
    const auto& [who, usage] = used.front();
    CHECK(who.agent == "primary");
    CHECK(usage.alias == "smart");
    CHECK(usage.stop_reason == "tool_use");
    CHECK(usage.input_tokens > 0);
    CHECK(usage.output_tokens > 0);
    CHECK(usage.first_token.count() > 0);
}

TEST_CASE_METHOD(Fixture, "a stream whose reader goes is counted as broken off", "[model]") {
    auto response = ask(asking("hello", "smart", true));
    KeepingWriter writer(1);
    loop.run(response.stream(writer));
    REQUIRE(used.size() == 1);
    CHECK(used.front().second.stop_reason.empty());
    CHECK(used.front().second.output_tokens < 20);
}

TEST_CASE_METHOD(Fixture, "a scripted failure looks as the provider's own", "[model]") {
    const auto response = ask(asking("broken"));
    CHECK(response.status == 529);
    const auto error = error_of(response);
    CHECK(error["type"] == "overloaded_error");
    CHECK(error["message"] == "later");
}

TEST_CASE_METHOD(Fixture, "what is asked wrongly is refused in the provider's shape", "[model]") {
    const auto body = GENERATE(
        as<std::string>{}, "", "no json", "[]", "{}", R"({"model":7})", R"({"model":"smart"})",
        R"({"model":"smart","messages":[]})", R"({"model":"smart","messages":[{"role":"x"}]})"
    );
    const auto response = ask(body);
    CHECK(response.status == 400);
    CHECK(error_of(response)["type"] == "invalid_request_error");
}

TEST_CASE_METHOD(Fixture, "a conversation that no reply is for is told so", "[model]") {
    const auto response = ask(asking("something else"));
    CHECK(response.status == 400);
    CHECK_FALSE(error_of(response)["message"].get<std::string>().empty());
}

TEST_CASE_METHOD(Fixture, "other paths and methods are refused", "[model]") {
    CHECK(ask("{}", "/anthropic/v1/complete").status == 404);
    CHECK(ask("{}", "/").status == 404);
    const auto response = ask("", "/anthropic/v1/messages", "GET");
    CHECK(response.status == 405);
    (void)error_of(response);
}

TEST_CASE_METHOD(Fixture, "the list of models holds what is allowed and configured", "[model]") {
    const auto response = ask("", "/anthropic/v1/models", "GET");
    CHECK(response.status == 200);
    const auto doc = Json::parse(response.payload());
    REQUIRE(doc["data"].size() == 1);
    CHECK(doc["data"][0]["id"] == "smart");
}

TEST_CASE_METHOD(Fixture, "a call waits until it is admitted", "[model]") {
    Notifier door(loop.executor());
    bool open = false;
    std::optional<Call> seen;
    hooks.admit = [&](const Caller&, const Call& call) {
        seen = call;
        return wait_open(&door, &open);
    };
    std::optional<http::Response> answer;
    loop.start(ask_into(&broker(), asking("hello"), &answer));
    loop.poll();
    REQUIRE(seen);
    CHECK(seen->alias == "smart");
    CHECK(seen->max_tokens == 100);
    CHECK(seen->request_bytes > 0);
    CHECK_FALSE(answer);
    CHECK(used.empty());
    open = true;
    door.notify();
    loop.run_while_not([&] { return answer.has_value(); });
    CHECK(answer->status == 200);
    CHECK(used.size() == 1);
}

TEST_CASE_METHOD(Fixture, "a call that is not admitted never reaches a provider", "[model]") {
    hooks.admit = [](const Caller&, const Call&) { return refuse_call(); };
    const auto response = ask(asking("hello"));
    CHECK(response.status == http_status(Errc::busy));
    CHECK_THAT(
        error_of(response)["message"].get<std::string>(), Catch::Contains("budget of this hour")
    );
    CHECK(used.empty());
}

TEST_CASE_METHOD(Fixture, "a script that went away is an error, not a crash", "[model]") {
    (void)broker();
    std::filesystem::remove(folder.path() + "/smart.json");
    const auto response = ask(asking("hello"));
    CHECK(response.status >= 400);
    (void)error_of(response);
}
