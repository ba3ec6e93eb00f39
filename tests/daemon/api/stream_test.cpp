// SPDX-License-Identifier: Apache-2.0
#include "daemon/api/stream.hpp"

#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "daemon/http/socket.hpp"
#include "tests/daemon/api/bench.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::api;

namespace {

/// A device at the other end: what it says and what it has got.
class FakeSocket final : public http::Socket {
public:
    explicit FakeSocket(const asio::any_io_executor& executor) : inbox_(executor, 100) {}

    asio::awaitable<std::optional<std::string>> receive() override {
        std::string message;
        const bool taken = co_await inbox_.pop(message);
        if (!taken) co_return std::nullopt;
        co_return message;
    }
    using Socket::send;
    bool send(std::shared_ptr<const std::string> message) override {
        got.push_back(Json::parse(*message));
        return true;
    }
    void close(std::uint16_t, std::string_view) override { inbox_.close(); }
    bool is_open() const noexcept override { return !inbox_.closed(); }
    std::uint16_t closed_with() const noexcept override { return is_open() ? 0 : 1000; }
    std::string closed_reason() const override { return {}; }
    std::size_t queued() const noexcept override { return backlog; }

    void say(const Json& message) { REQUIRE(inbox_.push(message.dump())); }
    void say_raw(std::string message) { REQUIRE(inbox_.push(std::move(message))); }

    std::vector<Json> got;
    std::size_t backlog = 0;

private:
    Mailbox<std::string> inbox_;
};

asio::awaitable<void> serve(Stream* stream, bool* ended) {
    co_await stream->run();
    *ended = true;
}

/// As the server has it: the stream goes with the coroutine that serves it.
asio::awaitable<void> serve_alone(
    asio::any_io_executor executor, const Services* services, std::shared_ptr<FakeSocket> socket
) {
    Stream stream(executor, *services, std::move(socket), "device dev_1");
    co_await stream.run();
}

asio::awaitable<void> close(TaskScope* scope, bool* closed) {
    co_await scope->close();
    *closed = true;
}

struct Device {
    Bench bench;
    Services services = bench.services();
    std::shared_ptr<FakeSocket> socket = std::make_shared<FakeSocket>(bench.loop.executor());
    Stream stream{bench.loop.executor(), services, socket, "device dev_1"};
    bool ended = false;

    Device() { bench.loop.start(serve(&stream, &ended)); }
    ~Device() {
        socket->close(1000, "");
        bench.loop.run_while_not([this] { return ended; });
    }

    /// Waits until the device has got `count` messages with that member; the last one.
    Json wait_for(const std::string& member, std::size_t count = 1) {
        bench.loop.run_while_not([&] { return all(member).size() >= count; });
        return all(member).back();
    }
    std::vector<Json> all(const std::string& member) const {
        std::vector<Json> out;
        for (const auto& message : socket->got)
            if (message.contains(member)) out.push_back(message[member]);
        return out;
    }
    std::vector<std::int64_t> seqs() const {
        std::vector<std::int64_t> out;
        for (const auto& event : all("event")) out.push_back(event["seq"]);
        return out;
    }
    void subscribe(const SessionId& session, std::int64_t after = 0) {
        socket->say({{"subscribe", {{"session", session.str()}, {"after", after}}}});
    }
    /// The agent prints something, which is durable when this returns.
    void print(const SessionId& session, const std::string& text) {
        session::Output output{bench.invocation_of(session), "stdout", text};
        (void)bench.loop.run(bench.sessions.report(session, "agent:primary", std::move(output)));
    }
    /// The agent prints something; the loop turns a little, the log may take it later.
    void print_soon(const SessionId& session, const std::string& text) {
        session::Output output{bench.invocation_of(session), "stdout", text};
        bench.sessions.tell(session, "agent:primary", std::move(output));
    }
    std::int64_t last_seq(const SessionId& session) {
        return bench.loop.run(bench.sessions.last_seq(session));
    }
};

std::vector<std::int64_t> numbers(std::int64_t first, std::int64_t last) {
    std::vector<std::int64_t> out;
    for (auto n = first; n <= last; ++n) out.push_back(n);
    return out;
}

}  // namespace

TEST_CASE_METHOD(Device, "a stream begins with hello", "[api]") {
    const auto hello = wait_for("hello");
    CHECK(hello["epoch"] == bench.store->epoch());
    CHECK(hello["name"] == "device dev_1");
    CHECK(socket->got.size() == 1);
}

TEST_CASE_METHOD(Device, "a subscription replays the log and then says that it is live", "[api]") {
    const auto session = bench.post("hello").session;
    subscribe(session);
    const auto live = wait_for("live");
    const auto last = last_seq(session);
    CHECK(seqs() == numbers(1, last));
    CHECK(live["seq"] == last);
    CHECK(live["session"] == session.str());
    CHECK(live["items"].empty());
    const auto first = all("event").front();
    CHECK(first["kind"] == "session.created");
    CHECK(first["body"]["project"] == "shop");
}

TEST_CASE_METHOD(Device, "a subscription begins after what the device has", "[api]") {
    const auto session = bench.post("hello").session;
    const auto last = last_seq(session);
    subscribe(session, last - 1);
    (void)wait_for("live");
    CHECK(seqs() == numbers(last, last));
}

TEST_CASE_METHOD(Device, "what happens during a replay comes once and in order", "[api]") {
    const auto session = bench.post("hello").session;
    for (int i = 0; i < 40; ++i) print(session, fmt::format("before {}", i));
    subscribe(session);
    for (int i = 0; i < 200; ++i) print_soon(session, fmt::format("during {}", i));
    (void)wait_for("live");
    for (int i = 0; i < 40; ++i) print(session, fmt::format("after {}", i));
    std::int64_t last = 0;
    bench.loop.run_while_not([&] {
        const auto events = all("event");
        if (events.empty() || events.back()["body"].value("text", "") != "after 39") return false;
        last = events.back()["seq"];
        return true;
    });
    CHECK(last > 280);
    CHECK(seqs() == numbers(1, last));
}

TEST_CASE_METHOD(Device, "the live message stands where its seq says", "[api]") {
    const auto session = bench.post("hello").session;
    subscribe(session);
    for (int i = 0; i < 50; ++i) print_soon(session, "x");
    const auto live = wait_for("live");
    std::int64_t before = 0;
    for (const auto& message : socket->got) {
        if (message.contains("live")) break;
        if (message.contains("event")) before = message["event"]["seq"];
    }
    CHECK(live["seq"] == before);
    CHECK(all("live").size() == 1);
}

TEST_CASE_METHOD(Device, "live begins with the items that are still being streamed", "[api]") {
    const auto session = bench.post("hello").session;
    const auto invocation = bench.invocation_of(session);
    bench.sessions.stream(session, "agent:primary", invocation, "text", "Good ");
    subscribe(session);
    const auto live = wait_for("live");
    REQUIRE(live["items"].size() == 1);
    const auto item = live["items"][0];
    CHECK(item["text"] == "Good ");
    CHECK(item["kind"] == "text");
    CHECK(item["invocation"] == invocation.str());
    CHECK(all("delta").empty());

    bench.sessions.stream(session, "agent:primary", invocation, "text", "day");
    const auto delta = wait_for("delta");
    CHECK(delta["item"] == item["item"]);
    CHECK(delta["offset"] == 5);
    CHECK(delta["text"] == "day");

    bench.sessions.end_stream(session, "agent:primary", invocation);
    bench.loop.run_while_not([&] { return all("event").back()["kind"] == "message.agent"; });
    const auto whole = all("event").back()["body"];
    CHECK(whole["item"] == item["item"]);
    CHECK(whole["text"] == "Good day");
}

TEST_CASE_METHOD(Device, "a slow device's replay waits, what it misses comes later", "[api]") {
    const auto session = bench.post("hello").session;
    socket->backlog = http::kMaxOutbox;
    subscribe(session);
    for (int i = 0; i < 20; ++i) print(session, "x");
    CHECK(all("event").empty());
    socket->backlog = 0;
    (void)wait_for("live");
    CHECK(seqs() == numbers(1, last_seq(session)));
}

TEST_CASE_METHOD(Device, "an unknown session is an error and the socket stays", "[api]") {
    subscribe(SessionId("ses_01JD0000000000000000000000"));
    const auto error = wait_for("error");
    CHECK(error["code"] == "not_found");
    CHECK(error["details"].is_array());
    const auto session = bench.post("hello").session;
    subscribe(session);
    (void)wait_for("live");
    CHECK(socket->is_open());
}

TEST_CASE_METHOD(Device, "a message that is wrong is told and the socket stays", "[api]") {
    const auto message = GENERATE(
        as<std::string>{}, "", "no json", "7", R"({"subscribe":7})", R"({"subscribe":{}})",
        R"({"subscribe":{"session":"x"}})", R"({"subscribe":{"list":false}})",
        R"({"subscribe":{"session":"ses_01JD0000000000000000000000","list":true}})",
        R"({"subscribe":{"session":"ses_01JD0000000000000000000000","after":-1}})",
        R"({"subscribe":{"session":"ses_01JD0000000000000000000000","after":"1"}})",
        R"({"unsubscribe":{}})", R"({"shout":"x"})", R"({"pong":"x"})"
    );
    CAPTURE(message);
    socket->say_raw(message);
    const auto error = wait_for("error");
    CHECK(error["code"] == "invalid");
    CHECK_FALSE(error["message"].get<std::string>().empty());
    CHECK(socket->is_open());
}

TEST_CASE_METHOD(Device, "subscribing again begins again from where the device is", "[api]") {
    const auto session = bench.post("hello").session;
    subscribe(session);
    (void)wait_for("live");
    const auto last = last_seq(session);
    subscribe(session, last - 2);
    (void)wait_for("live", 2);
    auto expected = numbers(1, last);
    expected.push_back(last - 1);
    expected.push_back(last);
    CHECK(seqs() == expected);
    print(session, "once");
    (void)wait_for("event", expected.size() + 1);
    expected.push_back(last + 1);
    CHECK(seqs() == expected);
}

TEST_CASE_METHOD(Device, "two requests in one breath leave one subscription", "[api]") {
    const auto session = bench.post("hello").session;
    subscribe(session);
    subscribe(session);
    (void)wait_for("live");
    print(session, "once");
    bench.loop.run_while_not([&] {
        return !all("event").empty() && all("event").back()["body"].value("text", "") == "once";
    });
    CHECK(all("live").size() == 1);
    CHECK(seqs() == numbers(1, last_seq(session)));
}

TEST_CASE_METHOD(Device, "after unsubscribing nothing of the session comes", "[api]") {
    const auto session = bench.post("hello").session;
    subscribe(session);
    (void)wait_for("live");
    const auto before = socket->got.size();
    socket->say({{"unsubscribe", {{"session", session.str()}}}});
    bench.loop.run_while_not([&] { return !bench.hub.is_followed(session); });
    print(session, "unheard");
    CHECK(last_seq(session) > 0);
    CHECK(socket->got.size() == before);
}

TEST_CASE_METHOD(Device, "the list tells each session's new summary", "[api]") {
    socket->say({{"subscribe", {{"list", true}}}});
    bench.loop.run_while_not([&] { return bench.hub.is_list_followed(); });
    const auto session = bench.post("hello").session;
    const auto summary = wait_for("summary");
    CHECK(summary["id"] == session.str());
    CHECK(summary["project"] == "shop");
    CHECK(summary["status"] == "working");
    CHECK(summary["last_seq"] == last_seq(session));
}

TEST_CASE_METHOD(Device, "a device that goes leaves nothing behind", "[api]") {
    const auto session = bench.post("hello").session;
    subscribe(session);
    socket->say({{"subscribe", {{"list", true}}}});
    (void)wait_for("live");
    socket->close(1000, "");
    bench.loop.run_while_not([this] { return ended; });
    CHECK_FALSE(bench.hub.is_followed(session));
    CHECK_FALSE(bench.hub.is_list_followed());
}

TEST_CASE("a stream that is cancelled ends what it began before it goes", "[api]") {
    Bench bench;
    auto services = bench.services();
    const auto socket = std::make_shared<FakeSocket>(bench.loop.executor());
    TaskScope scope(bench.loop.executor(), log_task_errors());
    scope.spawn("device", serve_alone(bench.loop.executor(), &services, socket));
    bench.loop.run_while_not([&] { return !socket->got.empty(); });
    bool closed = false;
    bench.loop.start(close(&scope, &closed));
    bench.loop.run_while_not([&] { return closed; });
    CHECK(closed);
}
