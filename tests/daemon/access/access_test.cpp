// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/access.hpp"

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "daemon/access/secrets.hpp"
#include "tests/daemon/http/support.hpp"

#include <map>
#include <unistd.h>

#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::access;
using Catch::Contains;
using Catch::StartsWith;

namespace {

struct MemoryStore final : CredentialStore {
    std::map<std::string, UnixMillis> codes;
    std::map<std::string, Device> devices;
    int lookups = 0;

    asio::awaitable<void> put_launch_code(std::string hash, UnixMillis, UnixMillis expires_at)
        override {
        codes[hash] = expires_at;
        co_return;
    }
    asio::awaitable<bool> consume_launch_code(std::string hash, UnixMillis now) override {
        const auto found = codes.find(hash);
        if (found == codes.end()) co_return false;
        const bool good = now < found->second;
        codes.erase(found);
        co_return good;
    }
    asio::awaitable<void> put_device(Device device) override {
        devices[device.token_hash] = device;
        co_return;
    }
    asio::awaitable<std::optional<Device>> find_device(std::string token_hash) override {
        ++lookups;
        const auto found = devices.find(token_hash);
        if (found == devices.end()) co_return std::nullopt;
        co_return found->second;
    }
    asio::awaitable<void> touch_device(DeviceId, UnixMillis) override { co_return; }
};

struct Fixture {
    Fixture() {
        AccessConfig config;
        config.own_uid = ::getuid();
        access.emplace(config, store, clock);
        http.server.emplace(http.loop.get_executor(), http.router, access->guard());
        access->add_routes(http.router);
        http.router.add("POST", "/api/v1/change", [](http::Request& request) {
            return http::Response::text(200, request.identity);
        });
        http.listen();
        port = http.server->listen_tcp("127.0.0.1", 0, "loopback");
        host = "127.0.0.1:" + std::to_string(port);
        access->set_base_url("http://" + host);
    }
    ~Fixture() { http.stop(); }

    http::Response ask(bool over_tcp, http::ClientRequest request) {
        const auto endpoint = over_tcp ? http::Endpoint::tcp("127.0.0.1", port)
                                       : http::Endpoint::unix_socket(http.path);
        http::Client client(http.loop.get_executor(), endpoint);
        http::Response out;
        http::run(http.loop, fetch(&client, std::move(request), &out));
        return out;
    }
    http::Response tcp(std::string target, http::Headers headers = {}) {
        return ask(true, {.target = std::move(target), .headers = std::move(headers)});
    }
    std::string new_code() {
        const auto answer =
            ask(false, {.method = "POST",
                        .target = "/api/v1/auth/launch-codes",
                        .headers = {{"X-Volary-Client", "cli"}}});
        REQUIRE(answer.status == 201);
        const auto doc = parse_json(answer.body);
        REQUIRE(doc.has_value());
        const auto code = string_or(*doc, "code");
        CHECK(string_or(*doc, "url") == "http://" + host + "/launch/" + code);
        CHECK((*doc)["expires_at"].get<UnixMillis>() == clock.now_ms() + 600'000);
        return code;
    }
    std::string sign_in() {
        const auto answer = tcp("/launch/" + new_code());
        REQUIRE(answer.status == 303);
        CHECK(answer.headers.find("Location") == "/");
        const std::string cookie(answer.headers.find("Set-Cookie").value_or(""));
        CHECK_THAT(cookie, Contains("; HttpOnly") && Contains("; SameSite=Strict"));
        CHECK_THAT(cookie, Contains("; Path=/;"));
        return cookie.substr(0, cookie.find(';'));
    }

    static asio::awaitable<void> fetch(
        http::Client* client, http::ClientRequest request, http::Response* out
    ) {
        *out = co_await client->request(std::move(request));
    }

    ManualClock clock;
    MemoryStore store;
    std::optional<Access> access;
    http::ServerFixture http;
    std::uint16_t port = 0;
    std::string host;
};

}  // namespace

TEST_CASE("the operator socket knows its peer, loopback knows nobody", "[access]") {
    Fixture t;
    const auto me = t.ask(false, {.target = "/api/v1/me"});
    CHECK(me.body == "{\"name\":\"uid " + std::to_string(::getuid()) + "\",\"source\":\"peer\"}");
    CHECK(t.tcp("/api/v1/me").status == 401);
    CHECK(t.tcp("/api/v1/unknown").status == 401);
    CHECK(t.ask(false, {.target = "/api/v1/unknown"}).status == 404);
}

TEST_CASE("a launch code signs one browser in, once", "[access]") {
    Fixture t;
    const auto code = t.new_code();
    CHECK(t.store.codes.count(code) == 0);  // Only its hash is kept.
    const auto first = t.tcp("/launch/" + code);
    CHECK(first.status == 303);
    CHECK(t.tcp("/launch/" + code).status == 403);

    const auto cookie = t.sign_in();
    const auto me = t.tcp("/api/v1/me", {{"Cookie", "a=b; " + cookie}});
    CHECK(me.status == 200);
    CHECK_THAT(me.body, StartsWith(R"({"name":"device dev_)") && Contains(R"("source":"cookie")"));
    for (const auto& [hash, device] : t.store.devices) CHECK(cookie.find(hash) == cookie.npos);
}

TEST_CASE("a code expires, and a HEAD does not use it up", "[access]") {
    Fixture t;
    auto code = t.new_code();
    CHECK(t.ask(true, {.method = "HEAD", .target = "/launch/" + code}).status == 405);
    CHECK(t.tcp("/launch/" + code).status == 303);
    code = t.new_code();
    t.clock.advance(std::chrono::minutes(10));
    CHECK(t.tcp("/launch/" + code).status == 403);
}

TEST_CASE("wrong codes are limited, and told in words to a person", "[access]") {
    Fixture t;
    const auto page = t.tcp("/launch/wrong", {{"Accept", "text/html"}});
    CHECK(page.status == 403);
    CHECK_THAT(page.body, StartsWith("this launch link was used already"));
    for (int i = 1; i < 10; ++i) CHECK(t.tcp("/launch/" + random_token(16)).status == 403);
    const auto code = t.new_code();
    const auto refused = t.tcp("/launch/" + code);
    CHECK(refused.status == 429);
    CHECK(refused.headers.find("Retry-After") == "60");
    t.clock.advance(std::chrono::minutes(1));
    CHECK(t.tcp("/launch/" + code).status == 303);
}

TEST_CASE("launch codes are made over the operator socket only", "[access]") {
    Fixture t;
    const auto cookie = t.sign_in();
    const auto answer = t.ask(
        true,
        {.method = "POST",
         .target = "/api/v1/auth/launch-codes",
         .headers = {{"Cookie", cookie}, {"Origin", "http://" + t.host}, {"X-Volary-Client", "web"}}
        }
    );
    CHECK(answer.status == 403);
}

TEST_CASE("a cookie is believed for seconds, not for ever", "[access]") {
    Fixture t;
    const auto cookie = t.sign_in();
    const auto me = [&] { return t.tcp("/api/v1/me", {{"Cookie", cookie}}).status; };
    CHECK(me() == 200);
    CHECK(me() == 200);
    CHECK(t.store.lookups == 1);
    for (auto& [hash, device] : t.store.devices) device.revoked = true;
    CHECK(me() == 200);
    t.clock.advance(std::chrono::seconds(15));
    CHECK(me() == 401);
    for (auto& [hash, device] : t.store.devices) device.revoked = false;
    CHECK(me() == 200);
    t.access->forget_devices();
    t.clock.advance(std::chrono::hours(24 * 30));
    CHECK(me() == 401);
}

TEST_CASE("a change over loopback needs cookie, Origin and client header together", "[access]") {
    Fixture t;
    const auto cookie = t.sign_in();
    const auto post = [&](http::Headers headers) {
        return t.ask(
            true, {.method = "POST", .target = "/api/v1/change", .headers = std::move(headers)}
        );
    };
    const std::string origin = "http://" + t.host;
    const auto good = post({{"Cookie", cookie}, {"Origin", origin}, {"X-Volary-Client", "web"}});
    CHECK(good.status == 200);
    CHECK_THAT(good.body, StartsWith("device dev_"));
    CHECK(post({{"Cookie", cookie}, {"X-Volary-Client", "web"}}).status == 403);
    CHECK(post({{"Cookie", cookie}, {"Origin", origin}}).status == 403);
    CHECK(post({{"Origin", origin}, {"X-Volary-Client", "web"}}).status == 401);
    CHECK(
        post({{"Cookie", cookie},
              {"Host", "evil.example"},
              {"Origin", origin},
              {"X-Volary-Client", "web"}})
            .status == 403
    );
}

TEST_CASE("the cookie is found exactly once or not at all", "[access]") {
    const auto token = random_token(kCookieBytes);
    const auto pair = "volary_session=" + token;
    CHECK(find_cookie(pair) == token);
    CHECK(find_cookie("a=1; " + pair + "; b=2") == token);
    CHECK(find_cookie("a=1;" + pair) == token);
    for (const auto& bad :
         {std::string(), std::string("volary_session="), std::string("volary_session"),
          "xvolary_session=" + token, "volary_session2=" + token, pair + "; " + pair, pair + "x",
          "volary_session=\"" + token + "\"", "volary_session=" + std::string(43, ' ')})
        CHECK_FALSE(find_cookie(bad));
}

TEST_CASE("secrets are hashed the same way each time and never shown", "[access]") {
    CHECK(hash_secret("a") == hash_secret("a"));
    CHECK(hash_secret("a") != hash_secret("b"));
    CHECK(hash_secret("").size() == 64);
    CHECK(is_token(random_token(16), 16));
    CHECK_FALSE(is_token(random_token(16), 32));
    CHECK_FALSE(is_token("../../etc/passwd/xxxxx", 16));
}

TEST_CASE("membership of a group is the host's word", "[access]") {
    ManualClock clock;
    GroupMembers roots("root", clock);
    CHECK(roots.has(0));
    CHECK(roots.has(0));
    CHECK_FALSE(roots.has(4'000'000));
    GroupMembers nobody("no-such-group", clock);
    CHECK_FALSE(nobody.has(0));
}

TEST_CASE("the security headers are there and strict", "[access]") {
    const auto headers = Access::security_headers();
    const std::string policy(headers.find("Content-Security-Policy").value_or(""));
    CHECK_THAT(policy, Contains("default-src 'none'") && Contains("frame-ancestors 'none'"));
    CHECK_THAT(policy, !Contains("unsafe"));
    CHECK(headers.find("X-Content-Type-Options") == "nosniff");
    CHECK(headers.find("Referrer-Policy") == "no-referrer");
}
