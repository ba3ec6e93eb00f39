// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/request_rule.hpp"

#include "base/error.hpp"
#include "cage/gatekeeper/judge.hpp"
#include "cage/gatekeeper/token_bucket.hpp"
#include "cage/gatekeeper/upstream.hpp"
#include "cage/net_plan.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace std::chrono_literals;

namespace {

NetRule shop(std::vector<std::string> methods, std::vector<std::string> paths) {
    NetRule rule;
    rule.host = "shop.example";
    rule.port = 80;
    rule.methods = std::move(methods);
    rule.paths = std::move(paths);
    rule.text = "shop.example:80";
    return rule;
}

ClientJudge::Step judge(const NetRule& rule, const std::string& text) {
    ClientJudge judge(expect(rule, rule.host));
    return judge.look(text);
}

std::string get(const std::string& target, const std::string& fields = "") {
    return "GET " + target + " HTTP/1.1\r\nHost: shop.example\r\n" + fields + "\r\n";
}

}  // namespace

TEST_CASE("a path that two readers could take for different ones is refused", "[gatekeeper]") {
    const auto target = GENERATE(
        as<std::string>{}, "/a/../b", "/a/./b", "/..", "/.", "/a/..", "/a//b", "//a", "/a\\b",
        "/a%2fb", "/a%2Fb", "/a%5cb", "/%2e%2e/b", "/%2E/b", "/a%252e", "/a%", "/a%2", "/a%zz",
        "/a%00", "/a%0d%0a", "/a/..;x/b", "/a/.;/b", "/a#b", "/a?b#c", "/a%3fb", "/a%3bb", "a", ""
    );
    const char* problem = nullptr;
    CHECK_FALSE(plain_path(target, problem));
    CHECK(problem != nullptr);
}

TEST_CASE("a plain path is what stands before the query", "[gatekeeper]") {
    const auto [target, path] = GENERATE(table<std::string, std::string>({
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"/a/b/", "/a/b/"},
        {"/a?b=/../c//d%2f", "/a"},
        {"/a.b/..c/d..", "/a.b/..c/d.."},
        {"/caf%C3%A9", "/caf%C3%A9"},
        {"/a;v=1/b", "/a;v=1/b"},
    }));
    const char* problem = nullptr;
    CHECK(plain_path(target, problem) == path);
    CHECK(problem == nullptr);
}

TEST_CASE("methods and paths of one rule go together, rules add up", "[gatekeeper]") {
    const std::vector<RequestRule> rules = {{{"GET"}, {"/a", "/b/*"}}, {{"POST"}, {"/c"}}};
    CHECK(allows(rules, "GET", "/a"));
    CHECK(allows(rules, "GET", "/b/x/y"));
    CHECK(allows(rules, "POST", "/c"));
    CHECK_FALSE(allows(rules, "POST", "/a"));
    CHECK_FALSE(allows(rules, "GET", "/a/x"));
    CHECK_FALSE(allows(rules, "GET", "/b"));
    CHECK_FALSE(allows(rules, "get", "/a"));
    CHECK(request_rules({shop({"GET"}, {}), shop({}, {})}).empty());
    CHECK(allows({}, "DELETE", "/anything"));
}

TEST_CASE("a Host that is longer than a name can be is not kept whole", "[gatekeeper]") {
    NetRule rule = shop({}, {});
    const auto step = judge(rule, "GET / HTTP/1.1\r\nHost: " + std::string(9000, 'a') + "\r\n\r\n");
    CHECK(step.kind == ClientJudge::Step::Kind::refuse);
    CHECK(step.layer == "host");
    CHECK(step.what == "host " + std::string(253, 'a') + " to shop.example:80");
    CHECK(step.rule.empty());
}

TEST_CASE("a request that no rule allows says which rule would", "[gatekeeper]") {
    const auto step = judge(shop({"GET"}, {"/public/*"}), get("/private/a?token=1"));
    CHECK(step.kind == ClientJudge::Step::Kind::refuse);
    CHECK(step.layer == "http");
    CHECK(step.what == "GET /private/a to shop.example:80");
    CHECK(step.rule == R"({ to: "shop.example:80", methods: [GET], paths: ["/private/a"] })");
}

TEST_CASE("every request of a connection is judged, tricks and all", "[gatekeeper]") {
    using K = ClientJudge::Step::Kind;
    const auto rule = shop({"GET"}, {"/public/*"});
    CHECK(judge(rule, get("/public/a?x=..")).kind == K::pass);
    CHECK(judge(rule, get("/public/../private")).layer == "http");
    CHECK(judge(rule, get("/public/..;/private")).layer == "http");
    CHECK(judge(rule, get("/public/a", "X-Original-URL: /private\r\n")).layer == "http");
    CHECK(judge(rule, get("/public/a", "X_HTTP_Method_Override: DELETE\r\n")).layer == "http");
    CHECK(judge(rule, "\x16\x03\x01").layer == "http");
    CHECK(judge(rule, "OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n").layer == "http");
    ClientJudge kept(expect(rule, rule.host));
    const auto both = get("/public/a") + get("/private");
    const auto first = kept.look(both);
    REQUIRE(first.kind == K::pass);
    CHECK(kept.look(both.substr(first.bytes)).kind == K::refuse);
}

TEST_CASE("the head of a credential's request is rewritten", "[gatekeeper]") {
    const HeadChange change{"X-Api-Key", Secret("abc"), "shop.example"};
    const std::string head =
        "GET /a HTTP/1.1\r\nhost: SHOP.example:80\r\nX-API-KEY: mine\r\nx_api_key: mine\r\n"
        "X-Api-Key-Id: kept\r\nProxy-Authorization: mine\r\nAccept: */*\r\n\r\n";
    CHECK(
        rewrite_head(head, change) ==
        "GET /a HTTP/1.1\r\nHost: shop.example\r\nX-Api-Key-Id: kept\r\nAccept: */*\r\n"
        "X-Api-Key: abc\r\n\r\n"
    );
}

TEST_CASE("rules that cannot be enforced are refused when compiled", "[gatekeeper]") {
    auto tls = shop({"GET"}, {});
    tls.port = 443;
    CHECK_THROWS_WITH(plan_network({tls}, {}), Catch::Contains("cannot be seen in TLS"));
    auto with = tls;
    with.credential = "api";
    CHECK_NOTHROW(plan_network({with}, {}));
    with.origin = "project.yaml:7";
    with.port = 80;
    CHECK_THROWS_WITH(plan_network({with}, {}), Catch::StartsWith("project.yaml:7: net rule"));
    with.port = 443;
    with.kind = NetRule::Kind::address;
    with.host = "93.184.216.34";
    CHECK_THROWS_WITH(plan_network({with}, {}), Catch::Contains("a credential needs a name"));
    auto block = shop({}, {"/a"});
    block.kind = NetRule::Kind::cidr;
    block.host = "93.184.216.0/24";
    CHECK_THROWS_WITH(plan_network({block}, {}), Catch::Contains("need a name"));
    auto plain = shop({}, {});
    auto injected = tls;
    injected.credential = "api";
    CHECK_THROWS_WITH(
        plan_network({plain, injected}, {}), Catch::Contains("same port in the cage")
    );
}

TEST_CASE("a credential rule on another port listens on that port", "[gatekeeper]") {
    auto rule = shop({}, {});
    rule.credential = "api";
    rule.port = 8443;
    CHECK(listen_port(rule) == 8443);
    rule.port = 443;
    CHECK(listen_port(rule) == 80);
    rule.credential.clear();
    CHECK(listen_port(rule) == 443);
}

TEST_CASE("a token bucket lets a burst through, then its rate", "[gatekeeper]") {
    TokenBucket bucket(3, 10);
    const auto start = TokenBucket::Time(1h);
    for (int i = 0; i < 3; ++i) CHECK(bucket.take(start));
    CHECK_FALSE(bucket.take(start));
    CHECK_FALSE(bucket.take(start + 50ms));
    CHECK(bucket.take(start + 150ms));
    CHECK_FALSE(bucket.take(start + 150ms));
    for (int i = 0; i < 3; ++i) CHECK(bucket.take(start + 1h));
    CHECK_FALSE(bucket.take(start + 1h));
}

TEST_CASE("a proxy's answer opens the way with 2xx only", "[gatekeeper]") {
    using State = ConnectReply::State;
    CHECK(parse_connect_reply("").state == State::more);
    CHECK(parse_connect_reply("HTTP/1.1 200 OK\r\n").state == State::more);
    const auto open = parse_connect_reply("HTTP/1.0 200 Connection established\r\nA: b\r\n\r\nhi");
    CHECK(open.state == State::open);
    CHECK(open.size == 45);
    CHECK(parse_connect_reply("HTTP/1.1 407 No\r\n\r\n").problem == "the proxy answered 407");
    CHECK(parse_connect_reply("SSH-2.0-x\r\n").state == State::refused);
    CHECK(parse_connect_reply("HTTP/1.1 2000\r\n\r\n").state == State::refused);
    CHECK(parse_connect_reply("HTTP/1.1 200\r\n\r\n").state == State::open);
    CHECK(parse_connect_reply("HTTP/1.1\r\n\r\n").state == State::refused);
    CHECK(parse_connect_reply("HTTP/1.1 abc\r\n\r\n").state == State::refused);
    CHECK(parse_connect_reply("HTTP/1.1 " + std::string(20'000, '2')).state == State::refused);
}

TEST_CASE("exceptions of the proxy are names and domains", "[gatekeeper]") {
    UpstreamProxy proxy;
    proxy.except = {"direct.example", ".inner.example", "10.0.0.1"};
    CHECK(goes_by_proxy(proxy, "shop.example"));
    CHECK_FALSE(goes_by_proxy(proxy, "direct.example"));
    CHECK(goes_by_proxy(proxy, "not-direct.example"));
    CHECK_FALSE(goes_by_proxy(proxy, "a.inner.example"));
    CHECK(goes_by_proxy(proxy, "inner.example"));
    CHECK_FALSE(goes_by_proxy(proxy, "10.0.0.1"));
}
