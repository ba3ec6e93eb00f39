// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/decide.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::access;

namespace {

using Source = RequestFacts::Source;

constexpr const char* kOnce = "";  // A header value of nullptr means: absent.

struct Row {
    std::string what;
    Source source = Source::tcp;
    const char* method = "GET";
    const char* host = "127.0.0.1:7700";
    const char* origin = nullptr;
    const char* fetch_site = nullptr;
    const char* client = nullptr;
    bool websocket = false;
    bool open = false;
    bool capability = false;
    bool signed_in = true;
    const char* local = "127.0.0.1:7700";
    int status = 200;
};

SingleHeader header(const char* value) {
    if (value == nullptr) return {};
    return {1, value};
}

int status_of(const RequestFacts& facts) {
    const Allowlist allowed{{"volary.example"}, {"https://volary.example"}};
    const auto decision = decide(facts, allowed);
    const auto* refusal = std::get_if<Refuse>(&decision);
    if (refusal == nullptr) return 200;
    CHECK_FALSE(refusal->message.empty());
    return refusal->status;
}

RequestFacts facts_of(const Row& row) {
    RequestFacts facts;
    facts.source = row.source;
    facts.method = row.method;
    facts.websocket = row.websocket;
    facts.open = row.open;
    facts.capability = row.capability;
    facts.host = header(row.host);
    facts.origin = header(row.origin);
    facts.fetch_site = header(row.fetch_site);
    facts.client = header(row.client);
    facts.local = row.source == Source::tcp ? row.local : "";
    if (row.signed_in) facts.identity = "somebody";
    return facts;
}

void check(const std::vector<Row>& rows) {
    for (const auto& row : rows) {
        INFO(row.what);
        CHECK(status_of(facts_of(row)) == row.status);
    }
}

}  // namespace

TEST_CASE("only the listener's own names and configured ones are served", "[access]") {
    const auto host = [](const char* name, int status, const char* local = "127.0.0.1:7700") {
        return Row{.what = name, .host = name, .local = local, .status = status};
    };
    check({
        host("127.0.0.1:7700", 200),
        host("localhost:7700", 200),
        host("LocalHost:7700", 200),
        host("[::1]:7700", 200, "[::1]:7700"),
        host("volary.example", 200),
        host("VOLARY.example", 200),
        host("localhost", 200, "127.0.0.1:80"),
        host("192.168.1.5:7700", 200, "192.168.1.5:7700"),
        // DNS rebinding and near misses.
        host("evil.example:7700", 403),
        host("localhost.evil.example:7700", 403),
        host("127.0.0.1.evil.example:7700", 403),
        host("localhost", 403),
        host("localhost:", 403),
        host("localhost:77000", 403),
        host("localhost:07700", 403),
        host("localhost:7701", 403),
        host("localhost.:7700", 403),
        host("127.0.0.1", 403),
        host("127.1:7700", 403),
        host("0.0.0.0:7700", 403),
        host("[::ffff:127.0.0.1]:7700", 403),
        host("::1:7700", 403),
        host("user@localhost:7700", 403),
        host("localhost:7700/", 403),
        host(" localhost:7700", 403),
        host("volary.example:7700", 403),
        host("volary.example.", 403),
        host("", 403),
        host("192.168.1.5:7700", 403),
    });
    check({{.what = "no Host", .host = nullptr, .status = 400}});
    check({{.what = "no Host, even open", .host = nullptr, .open = true, .status = 400}});
    check(
        {{.what = "rebinding, even open", .host = "evil.example:7700", .open = true, .status = 403}}
    );
}

TEST_CASE("a present Origin must be ours, and changes and sockets need one", "[access]") {
    const auto post = [](const char* origin, int status) {
        return Row{
            .what = origin == nullptr ? "POST without Origin" : origin,
            .method = "POST",
            .origin = origin,
            .client = "web",
            .status = status
        };
    };
    check({
        post("http://127.0.0.1:7700", 200),
        post("http://localhost:7700", 200),
        post("https://volary.example", 200),
        post(nullptr, 403),
        post("null", 403),
        post("", 403),
        post("http://evil.example", 403),
        post("http://evil.example:7700", 403),
        post("https://localhost:7700", 403),
        post("http://localhost:7701", 403),
        post("http://localhost", 403),
        post("http://localhost:7700/", 403),
        post("http://localhost:7700.evil.example", 403),
        post("HTTP://localhost:7700", 403),
        post("http://volary.example", 403),
        post("https://volary.example:443", 403),
        post("https://volary.example.evil.example", 403),
    });
    const auto socket = [](const char* origin, int status) {
        return Row{.what = "socket", .origin = origin, .websocket = true, .status = status};
    };
    check(
        {socket("http://127.0.0.1:7700", 200), socket(nullptr, 403), socket("null", 403),
         socket("http://evil.example", 403)}
    );
    check(
        {{.what = "GET from elsewhere", .origin = "http://evil.example", .status = 403},
         {.what = "open GET from elsewhere", .origin = "null", .open = true, .status = 403},
         {.what = "GET from here", .origin = "http://localhost:7700", .status = 200}}
    );
}

TEST_CASE("Sec-Fetch-Site must be same-origin or none when it is there", "[access]") {
    const auto site = [](const char* value, int status) {
        return Row{.what = value, .fetch_site = value, .status = status};
    };
    check(
        {site("same-origin", 200), site("none", 200), site("same-site", 403),
         site("cross-site", 403), site("", 403), site("SAME-ORIGIN", 403)}
    );
}

TEST_CASE("every change needs the custom header, on every socket", "[access]") {
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"}) {
        for (const auto source : {Source::tcp, Source::operator_socket}) {
            const Row row{
                .what = method,
                .source = source,
                .method = method,
                .origin = source == Source::tcp ? "http://localhost:7700" : nullptr
            };
            auto with = row;
            with.client = "web";
            auto empty = row;
            empty.client = kOnce;
            auto without = row;
            empty.status = without.status = 403;
            check({with, empty, without});
        }
    }
}

TEST_CASE("sign-in comes last, and open routes need none", "[access]") {
    check({
        {.what = "stranger", .signed_in = false, .status = 401},
        {.what = "stranger, open", .open = true, .signed_in = false, .status = 200},
        {.what = "stranger from elsewhere",
         .fetch_site = "cross-site",
         .signed_in = false,
         .status = 403},
        {.what = "wrong user",
         .source = Source::operator_socket,
         .host = "localhost",
         .signed_in = false,
         .status = 403},
        {.what = "wrong user, open",
         .source = Source::operator_socket,
         .open = true,
         .signed_in = false,
         .status = 200},
        {.what = "operator", .source = Source::operator_socket, .host = "anything", .status = 200},
        {.what = "operator from a page",
         .source = Source::operator_socket,
         .origin = "http://evil.example",
         .status = 403},
        {.what = "cage", .source = Source::cage, .status = 403},
        {.what = "cage, open", .source = Source::cage, .open = true, .status = 403},
    });
}

TEST_CASE("a header that came twice is refused, whatever it says", "[access]") {
    for (auto member :
         {&RequestFacts::host, &RequestFacts::origin, &RequestFacts::fetch_site,
          &RequestFacts::client}) {
        for (const auto source : {Source::tcp, Source::operator_socket}) {
            auto facts = facts_of({.what = "twice", .source = source});
            facts.*member = {2, "http://localhost:7700"};
            CHECK(status_of(facts) == 400);
        }
    }
}

TEST_CASE("what is allowed carries the identity", "[access]") {
    auto facts = facts_of({.what = "device"});
    facts.identity = "device dev_1";
    auto decision = decide(facts, {});
    REQUIRE(std::holds_alternative<Allow>(decision));
    CHECK(std::get<Allow>(decision).identity == "device dev_1");
    facts.identity.reset();
    facts.open = true;
    decision = decide(facts, {});
    CHECK(std::get<Allow>(decision).identity.empty());
}

TEST_CASE(
    "a capability's path is for pages without an origin too, never for other sites", "[access]"
) {
    const auto visit = [](const char* origin, const char* site, int status) {
        return Row{
            .what = origin == nullptr ? "no Origin" : origin,
            .method = "POST",
            .origin = origin,
            .fetch_site = site,
            .capability = true,
            .signed_in = false,
            .status = status
        };
    };
    check({
        visit(nullptr, nullptr, 200),
        visit(nullptr, "cross-site", 200),
        visit("null", "cross-site", 200),
        visit("http://127.0.0.1:7700", "same-origin", 200),
        visit("https://volary.example", nullptr, 200),
        visit("https://evil.example", "cross-site", 403),
        visit("http://127.0.0.1:3000", "same-site", 403),
        visit("", nullptr, 403),
        visit("NULL", nullptr, 403),
    });
    check({
        {.what = "rebinding", .host = "evil.example", .capability = true, .status = 403},
        {.what = "a cage", .source = Source::cage, .capability = true, .status = 403},
    });
    // What such a page sends to anything else is refused, signed in or not.
    check({
        {.what = "GET from null", .origin = "null", .fetch_site = "cross-site", .status = 403},
        {.what = "GET from null, old browser", .origin = "null", .status = 403},
        {.what = "POST from null", .method = "POST", .origin = "null", .client = "x", .status = 403
        },
        {.what = "WebSocket from null", .origin = "null", .websocket = true, .status = 403},
        {.what = "image", .fetch_site = "cross-site", .status = 403},
    });
}
